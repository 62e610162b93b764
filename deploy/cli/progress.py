"""How training tells where it is: a bar, a line every few seconds, or JSON."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.cli.output import Output

if TYPE_CHECKING:
    from specialists.training.finetune import Progress as Step

LINE_SECONDS = 5.0

Report = Callable[["Step"], None]


@contextmanager
def reporter(output: Output) -> Iterator[Report]:
    """What to call with each step of training."""
    if output.as_json:
        yield lambda step: output.json({"event": "step", **asdict(step)})
    elif output.progress.is_terminal:
        with _bar(output) as report:
            yield report
    else:
        yield _lines(output)


@contextmanager
def _bar(output: Output) -> Iterator[Report]:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.progress) as bars:
        task = bars.add_task("training", total=None, figures="")

        def report(step: "Step") -> None:
            bars.update(task, completed=step.step, total=step.steps, figures=_figures(step))

        yield report


def _lines(output: Output) -> Report:
    told = time.monotonic() - LINE_SECONDS

    def report(step: "Step") -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= LINE_SECONDS or step.step == step.steps:
            told = now
            output.progress.print(f"step {step.step}/{step.steps}, {_figures(step)}")

    return report


def _figures(step: "Step") -> str:
    minutes, seconds = divmod(round(step.seconds_left), 60)
    return (
        f"loss {step.loss:.3f}, {step.tokens_per_second:.0f} tokens/s, {minutes}:{seconds:02} left"
    )
