"""Kill a process at every step of every change to a registry, one step after the other.

Run as a script, since processes without other threads can be forked safely. Prints one line of JSON
for each change: at how many steps it was killed, and all that was wrong afterwards.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine.default import DefaultDialect
from tiny_adapter import BASE, card, config, weights

from registry import archive, blobs, checking
from registry.adapter import validate
from registry.collection import collect
from registry.database import Database
from registry.registry import Registry
from registry.scopes import Scope
from registry.tables import versions
from registry.view import Visibility

NONE = timedelta(0)
NEVER = 10**9
Seen = dict[str, Any]
Change = Callable[[Registry, Path], object]
CHANGES: dict[str, Change] = {
    "register a version": lambda registry, _: registry.register(
        card("ada/coach"), config(), weights(seed=7)
    ),
    "register a specialist": lambda registry, _: registry.register(
        card("eve/new", tags=["new"]), config(), weights(seed=8)
    ),
    "register what was retired": lambda registry, _: registry.register(
        card("bob/gone"), config(), weights(seed=9)
    ),
    "promote": lambda registry, _: registry.aliases.promote("ada/coach@1", "candidate"),
    "roll back": lambda registry, _: registry.aliases.roll_back("ada/coach"),
    "try a version": lambda registry, _: registry.aliases.try_out("ada/coach@1", 0.5),
    "show to others": lambda registry, _: registry.show_to("ada/coach", Visibility.PUBLIC),
    "retire": lambda registry, _: registry.retire("ada/coach"),
    "restore": lambda registry, _: registry.restore("bob/gone"),
    "make a key": lambda registry, _: registry.keys.create("x", [Scope.INFER], "ada"),
    "collect garbage": lambda _, home: collect(home, NONE, NONE),
}


class Steps:
    """Counts what a change does to the disk, and dies at the `last` step."""

    def __init__(self, last: int) -> None:
        self._left = last

    def step(self) -> None:
        """One step is about to be taken, or has just been."""
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with a step before and one after it."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.step()
            found = call(*args, **kwargs)
            self.step()
            return found

        return counted

    def before_writing(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """A dialect's way to execute statements, with a step before each that writes."""

        def counted(dialect: Any, cursor: Any, statement: str, *rest: Any) -> Any:
            if not statement.startswith("SELECT"):
                self.step()
            return execute(dialect, cursor, statement, *rest)

        return counted

    def install(self) -> None:
        """Count from now on, in this process."""
        for name in ("fsync", "replace", "unlink", "mkdir", "utime"):
            setattr(os, name, self.around(getattr(os, name)))
        for name in ("do_execute", "do_executemany"):
            setattr(DefaultDialect, name, self.before_writing(getattr(DefaultDialect, name)))
        DefaultDialect.do_commit = self.around(DefaultDialect.do_commit)  # type: ignore[method-assign]
        blobs.tempfile.mkstemp = self.around(tempfile.mkstemp)  # type: ignore[assignment]
        plain = os.fdopen
        os.fdopen = lambda *args: _Halved(plain(*args), self)  # type: ignore[assignment]


class _Halved:
    """A file that is written in two halves, with a step between them."""

    def __init__(self, file: Any, steps: Steps) -> None:
        self._file, self._steps = file, steps

    def __enter__(self) -> "_Halved":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> None:
        """Write it, and stop half-way for a step."""
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._steps.step()
        self._file.write(data[len(data) // 2 :])


def filled(home: Path) -> None:
    """Two versions in service, a retired specialist, and garbage."""
    registry = Registry.open(home, BASE)
    for seed in range(2):
        registry.register(card("ada/coach"), config(), weights(seed=seed))
    registry.register(card("bob/gone", tags=["old"]), config(), weights(seed=5))
    registry.retire("bob/gone")
    registry._blobs.put(b"an orphan")
    registry.close()


def observed(home: Path) -> Seen:
    """All that a registry shows, but for times and secrets."""
    registry = Registry.open(home, BASE)
    names, aliases = [live.id for live in registry.live()], registry.aliases
    found = {
        "live": [(live.id, live.number, live.digest, str(live.canary)) for live in registry.live()],
        "listed": [version.id for version in registry.search(None, None, None, 99).data],
        "tagged": [version.id for version in registry.search(None, "new", None, 99).data],
        "versions": [[head.digest for head in registry.versions(name)] for name in names],
        "aliases": [str(registry.aliases.of(name)) for name in names],
        "visibility": [str(registry.get(name).visibility) for name in names],
        "moves": [[move.number for move in aliases.history(name, "prod")] for name in names],
        "generation": registry.generation(),
        "changes": [change.id for change in registry.changes(0)],
        "keys": [key.name for key in registry.keys.list()],
        "audit": [(entry.seq, entry.action) for entry in archive.audit_log(home, 99)],
    }  # fmt: skip
    registry.close()
    return found


def killed(change: Change, home: Path, last: int) -> tuple[bool, bool]:
    """Make a change in a process that dies at a step: whether it died, and had said it was done."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            registry = Registry.open(home, BASE)
            Steps(last).install()
            change(registry, home)
            os.write(writing, b"done")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        acknowledged = said.read() == b"done"
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), acknowledged


def problems(
    change: Change, home: Path, acknowledged: bool, before: Seen, after: Seen
) -> Iterator[str]:
    """What is wrong with a home in which a change was killed."""
    found = observed(home)
    if found not in (before, after):
        yield f"half a change is visible: {found}"
    if acknowledged and found != after:
        yield "what was acknowledged is lost"
    if found == before:
        registry = Registry.open(home, BASE)
        change(registry, home)
        registry.close()
        if observed(home) != after:
            yield f"made again it ends otherwise: {observed(home)}"
    collect(home, timedelta(days=1), NONE)
    left = {file.name for file in (home / "blobs").glob("*/*")}
    with closing(Database.open(home / "registry.db")) as database, database.read() as connection:
        manifests = connection.scalars(select(versions.c.digest).where(versions.c.purged.is_(None)))
        named = {
            name.removeprefix("sha256:") for name in (*archive._blobs_of(connection), *manifests)
        }
    if left != named:
        yield f"files that are not named, or named and not there: {left ^ named}"
    yield from archive.problems(home)


def tried(template: Path, name: str) -> dict[str, Any]:
    """Kill a change at its first step, at its second, and so on to its end."""
    home = template.with_name(name)
    change, before = CHANGES[name], observed(template)
    shutil.copytree(template, home)
    died, acknowledged = killed(change, home, NEVER)
    assert acknowledged
    assert not died
    after = observed(home)
    found: list[str] = []
    for last in count(1):
        shutil.rmtree(home)
        shutil.copytree(template, home)
        died, acknowledged = killed(change, home, last)
        wrong = problems(change, home, acknowledged, before, after)
        found += [f"step {last}: {text}" for text in wrong]
        if not died:
            return {"change": name, "steps": last - 1, "problems": found}
    raise AssertionError


def main() -> None:
    """Try every change at every step, as many changes at once as there are processors."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        filled(template)
        with multiprocessing.get_context("spawn").Pool() as pool:
            for found in pool.imap(partial(tried, template), CHANGES):
                sys.stdout.write(f"{json.dumps(found)}\n")


# In every process: one that is forked would have to begin a checker of its own.
checking.CHECKERS.check = validate  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
