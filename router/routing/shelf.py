"""The packs of a catalogue in a replica's cache, and the list that says which are in use.

Routes that pile up in memory are moved into a pack, and packs of like sizes are put together in a
process apart: so there are always few, and each route is written a few times at most. Of all
replicas that share a cache one writes, and the others read what it wrote. A start opens the packs
and reads what changed since: it costs the same at any size.
"""

import fcntl
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from registry.apart import told
from registry.registry import Registry
from router.routing import packing
from router.routing.pack import Pack
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.vectors import write_whole

logger = logging.getLogger(__name__)

LIST = "packs.json"
LOCK = "lock"
FULL = 4096
"""Recent routes from which on they are moved to disk."""
TRIES = 3
AT_FIRST = 32_768
"""Routes that a first start holds in memory, before it moves them."""
GROWTH = 8
"""How much larger a pack is than all newer ones together, at least, to be left as it is."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """What was on the shelf.

    Attributes:
        generation: of the registry, that it shows.
        packs: the routes.
        skipped: specialists that could not be routed to, each with the reason.
    """

    generation: int
    packs: tuple[Pack, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


class Shelf:
    """Keeps packs in a folder. For one thread at a time."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        """Keep what `registry` holds in a folder that nothing else is kept in."""
        self._folder = folder
        self._registry = registry
        self._lock: IO[bytes] | None = None
        self._merging: _Merging | None = None
        # What could not be put together, and is not tried again as it is.
        self._failed: list[str] = []
        # The list as it was read or written last.
        self._listed: dict[str, Any] | None = None

    def read(self) -> Shelved | None:
        """What is there; None for nothing, or nothing of this registry, or what is damaged."""
        listed = self._read_list()
        if listed is None or not self._registry.bears(listed["stamp"]):
            return None
        for _ in range(TRIES):
            shelved, newer = self._open(listed), self._read_list()
            if shelved is not None or newer in (None, listed):
                return shelved
            # Whoever writes has removed what was listed before.
            listed = newer
        return None

    def _open(self, listed: dict[str, Any]) -> Shelved | None:
        try:
            packs = tuple(
                Pack(self._folder / each["name"], each["gone"]) for each in listed["packs"]
            )
        except (OSError, ValueError) as error:
            logger.warning("%s is not whole, reading all specialists: %s", self._folder, error)
            return None
        self._listed = listed
        return Shelved(listed["generation"], packs, listed["skipped"])

    def move(self, routes: Sequence[Route]) -> Pack | None:
        """The routes on disk; None if this is not who writes."""
        if not self._writes():
            return None
        return Pack(packing.write(self._folder, routes))

    def note(self, snapshot: Snapshot, packs: Iterable[Pack], skipped: Mapping[str, str]) -> None:
        """List these packs as all there is of a snapshot."""
        used = [pack for pack in packs if pack.alive.any()]
        listed = [{"name": pack.folder.name, "gone": pack.gone} for pack in used]
        self._write_list(
            {
                "generation": snapshot.generation,
                "stamp": self._registry.stamp(),
                "packs": listed,
                "skipped": dict(skipped),
            }
        )

    def tidy(self, snapshot: Snapshot, skipped: Mapping[str, str]) -> bool:
        """Move on with what is to be done; whether `read` now gives more than a snapshot's packs.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._merging is not None:
            return self._merged(self._merging)
        if not self.is_busy(snapshot):
            return False
        if not self._writes():
            return self._read_list() != self._listed
        if _is_full(snapshot):
            pack = Pack(packing.write(self._folder, snapshot.recent.routes))
            self.note(snapshot, [*snapshot.kept, pack], skipped)
            return True
        self._merging = _Merging.begin(self._folder, self._due(snapshot.kept))
        return False

    def is_busy(self, snapshot: Snapshot) -> bool:
        """Whether there is something to do for a snapshot, or it is being done."""
        if self._merging is not None or _is_full(snapshot):
            return True
        return self._lock is not None and bool(self._due(snapshot.kept))

    def close(self) -> None:
        """End what is being done, and let others write."""
        if self._merging is not None:
            self._merging.end()
            self._merging = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _due(self, packs: Sequence[Pack]) -> list[Pack]:
        """The newest packs that are to be put together, if there are any."""
        if self._listed is None or [p.folder.name for p in packs] != [
            each["name"] for each in self._listed["packs"]
        ]:
            return []
        found = due(packs)
        return [] if [pack.folder.name for pack in found] == self._failed else found

    def _merged(self, merging: "_Merging") -> bool:
        """Whether a merge has ended, and its pack is listed in the place of what it was made of."""
        if not merging.ended:
            return False
        self._merging = None
        name, listed = merging.outcome(), self._listed
        if name is None or listed is None:
            logger.warning("the packs in %s could not be put together", self._folder)
            self._failed = merging.names
            return False
        left = [each for each in listed["packs"] if each["name"] not in merging.names]
        self._write_list({**listed, "packs": [*left, {"name": name, "gone": []}]})
        return True

    def _writes(self) -> bool:
        """Whether this is who writes: the first who asks, as long as it lives."""
        if self._lock is not None:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (self._folder / LOCK).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock = file
        return True

    def _read_list(self) -> dict[str, Any] | None:
        try:
            listed = json.loads((self._folder / LIST).read_bytes())
            if {"generation", "stamp", "packs", "skipped"} <= listed.keys():
                return dict(listed)
            raise ValueError("its list lacks fields")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("%s cannot be read, reading all specialists: %s", self._folder, error)
            return None

    def _write_list(self, listed: dict[str, Any]) -> None:
        """Put another list in the place of the last one, and remove what it does not name."""
        write_whole(self._folder / LIST, json.dumps(listed).encode())
        self._listed = listed
        named = {each["name"] for each in listed["packs"]}
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in named:
                shutil.rmtree(folder, ignore_errors=True)


def _is_full(snapshot: Snapshot) -> bool:
    return int(np.count_nonzero(snapshot.recent.alive)) >= FULL


def due(packs: Sequence[Pack]) -> list[Pack]:
    """The newest packs that are to be put together: those not much larger than all newer ones."""
    found: list[Pack] = []
    total = 0
    for pack in reversed(packs):
        size = int(np.count_nonzero(pack.alive))
        if found and size >= GROWTH * total:
            break
        found.append(pack)
        total += size
    if len(found) > 1 or any(pack.lacks_a_graph for pack in found):
        return found
    return []


class _Merging:
    """A process that puts packs together."""

    def __init__(self, process: "subprocess.Popen[bytes]", names: list[str]) -> None:
        self._process = process
        self.names = names

    @classmethod
    def begin(cls, folder: Path, packs: Sequence[Pack]) -> "_Merging":
        """Begin to put packs together."""
        asked = [{"name": pack.folder.name, "gone": pack.gone} for pack in packs]
        with TemporaryFile() as given:
            given.write(json.dumps(asked).encode())
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603 (this interpreter, this folder)
                [sys.executable, "-m", packing.__name__, str(folder)],
                env=told(),
                stdin=given,
                stdout=subprocess.PIPE,
            )
        return cls(process, [pack.folder.name for pack in packs])

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def outcome(self) -> str | None:
        """The name of the pack that it wrote; None if it wrote none."""
        said, _ = self._process.communicate()
        return said.decode().strip() if self._process.returncode == 0 else None

    def end(self) -> None:
        """End the process before it is done."""
        self._process.kill()
        self._process.communicate()
