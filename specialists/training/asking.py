"""A job's teacher; whoever goes on with the job asks nothing twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from specialists.errors import TrainingStopped
from specialists.progress import Progress
from specialists.training.checkpoint import Keeper
from specialists.training.pulse import Pulse
from specialists.training.teacher import Address, Teacher

SECONDS_BETWEEN = 10.0
"""From one look at how far it is to the next: what a killed trainer asks again."""
LOOK_SECONDS = 0.5
"""From one look at whether the job is to be let go of to the next."""

Found = TypeVar("Found")
Work = Callable[[Teacher, Progress], Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class Asking:
    """A teacher that is asked for a job.

    Attributes:
        address: where it is.
        budget: tokens that it may read and write.
        keeper: of its answers so far.
        pulse: of the job.
    """

    address: Address
    budget: int
    keeper: Keeper
    pulse: Pulse

    def run(self, notebook: Path, work: Work[Found]) -> Found:
        """What comes of asking it; `notebook` is where answers are noted meanwhile.

        Raises:
            TrainingStopped: the job is not ours any more, or others have waited for their turn.
        """
        notebook.write_bytes(self.keeper.read() or b"")
        try:
            return asyncio.run(self._run(notebook, work))
        finally:
            self.keeper.write(notebook.read_bytes())

    async def _run(self, notebook: Path, work: Work[Found]) -> Found:
        told = time.monotonic()

        def report(doing: str, done: int, of: int) -> None:
            nonlocal told
            if done == of or time.monotonic() - told > SECONDS_BETWEEN:
                told = time.monotonic()
                self.pulse.tell(f"{doing} {done}/{of}, {teacher.spent:,} tokens")
                self.keeper.write(notebook.read_bytes())

        async with self.address.teacher(notebook, self.budget) as teacher:
            return await self._unless_stopped(work(teacher, report))

    async def _unless_stopped(self, work: Awaitable[Found]) -> Found:
        """What comes of the work, which a teacher that says nothing may keep waiting for long."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                if self.pulse.ends():
                    raise TrainingStopped("the teacher is asked no more")
                await asyncio.wait([working], timeout=LOOK_SECONDS)
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
