"""A job's teacher, asked for the rows; whoever goes on with the job asks nothing twice."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from registry.job import Distillation
from specialists.errors import TrainingStopped
from specialists.training.checkpoint import Keeper
from specialists.training.distillation import Distilled, Wanted, distil
from specialists.training.pulse import Pulse
from specialists.training.teacher import Address

SECONDS_BETWEEN = 10.0
"""From one look at how far it is to the next: what a killed trainer asks again."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a teacher is asked for a job.

    Attributes:
        address: where.
        asked: what.
        keeper: of its answers so far.
        pulse: of the job.
    """

    address: Address
    asked: Distillation
    keeper: Keeper
    pulse: Pulse

    def answers(self, notebook: Path) -> Distilled:
        """Rows to learn from; `notebook` is where answers are noted meanwhile.

        Raises:
            TeacherFailed: it answered nothing at all.
            TrainingDataError: nothing of what it answered can be learnt from.
            TrainingStopped: the job is not ours any more.
        """
        notebook.write_bytes(self.keeper.read() or b"")
        try:
            return asyncio.run(self._distilled(notebook))
        finally:
            self.keeper.write(notebook.read_bytes())

    async def _distilled(self, notebook: Path) -> Distilled:
        asked = self.asked
        wanted = Wanted(asked.brief, asked.count, judged=asked.judged)
        told = time.monotonic()

        def report(doing: str, done: int, of: int) -> None:
            nonlocal told
            if self.pulse.lost.is_set():
                raise TrainingStopped(f"{doing} was stopped after {done} of {of}")
            if done == of or time.monotonic() - told > SECONDS_BETWEEN:
                told = time.monotonic()
                self.pulse.tell(f"{doing} {done}/{of}, {teacher.spent:,} tokens")
                self.keeper.write(notebook.read_bytes())

        async with self.address.teacher(notebook, asked.budget) as teacher:
            return await distil(teacher, wanted, asked.prompts, report)
