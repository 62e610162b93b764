"""How long work tells where it is: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 5.0


class Told(Protocol):
    """Takes in how far some work is."""

    def __call__(self, doing: str, done: int, of: int, detail: str = "") -> None:
        """Tell that `done` of `of` steps of `doing` are done."""


@contextmanager
def told(console: Console) -> Iterator[Told]:
    """What to call with each step; a slow run can be told from a hung one by what it prints."""

    def line(doing: str, done: int, of: int, detail: str = "") -> None:
        text = f"{doing} {done}/{of}" + (f", {detail}" if detail else "")
        console.print(text, style="dim", soft_wrap=True, markup=False)

    if console.is_terminal:
        with _bar(console) as tell:
            yield tell
    else:
        yield now_and_then(line)


def now_and_then(
    tell: Told, clock: Callable[[], float] = time.monotonic, seconds: float = LINE_SECONDS
) -> Told:
    """Pass on the first and the last step of each piece of work, and one every few seconds."""
    what, last = "", 0.0

    def passed_on(doing: str, done: int, of: int, detail: str = "") -> None:
        nonlocal what, last
        if doing != what or done >= of or clock() - last >= seconds:
            what, last = doing, clock()
            tell(doing, done, of, detail)

    return passed_on


@contextmanager
def _bar(console: Console) -> Iterator[Told]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("", total=None, detail="", visible=False)

        def tell(doing: str, done: int, of: int, detail: str = "") -> None:
            bars.update(
                task, description=doing, completed=done, total=of, detail=detail, visible=True
            )

        yield tell
