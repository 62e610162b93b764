"""Rows of jobs that bring none: a teacher's answers, or what is made of what somebody wrote."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from registry.card import Teacher as Taught
from registry.errors import Lost, StorageError
from registry.job import Creation, Distillation, Job
from registry.registry import Registry
from specialists.creation import creation
from specialists.creation.card import fields_of, persona_of, title
from specialists.creation.creation import Created
from specialists.creation.material import Material
from specialists.creation.readers import read_material
from specialists.errors import TeacherFailed
from specialists.progress import Progress
from specialists.training.asking import Asking
from specialists.training.distillation import Distilled, Wanted, distil
from specialists.training.pulse import Pulse
from specialists.training.teacher import Address, Teacher

logger = logging.getLogger(__name__)

ANSWERS = "answers.jsonl"
Make = Callable[[creation.Asking | None, Progress], Coroutine[Any, Any, Created]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A job's checkpoints, in the registry."""

    registry: Registry
    job: Job
    holder: str

    def read(self) -> bytes | None:
        """The last one."""
        return self.registry.queue.kept(self.job)

    def write(self, checkpoint: bytes) -> None:
        """Keep one in its place, if that can be done now."""
        # Whose the job is, is asked elsewhere.
        with suppress(Lost):
            try:
                self.registry.queue.keep(self.job, self.holder, checkpoint)
            except StorageError as error:
                # Nothing is lost by it as long as this trainer goes on.
                logger.warning("a checkpoint of %s is not kept: %s", self.job.id, error)


@dataclass(frozen=True, slots=True)
class Gathering:
    """The rows of one job.

    Attributes:
        registry: where files are, as the job's owner sees it.
        job: whose rows are wanted.
        holder: the trainer's name.
        pulse: of the job.
        teachers: who may be asked, by their names.
    """

    registry: Registry
    job: Job
    holder: str
    pulse: Pulse
    teachers: Mapping[str, Address]

    def gathered(self, scratch: Path) -> Job:
        """The job with its rows, wherever they come from.

        Raises:
            TeacherFailed: a teacher that was to be asked answered nothing at all.
            TrainingDataError: nothing can be learnt from what there is.
            TrainingStopped: the job is not ours any more.
            UnknownObject: a file of the material is gone.
        """
        task = self.job.task
        if task.distils is not None and task.teacher is None:
            return self._distilled(task.distils, scratch)
        if task.creation is not None and task.training_file in task.creation.files:
            return self._created(task.creation, scratch)
        return self.job

    def _distilled(self, name: str, scratch: Path) -> Job:
        """With a teacher's answers as its rows."""
        queue, address = self.registry.queue, self._address(name)
        asked = Distillation.model_validate_json(queue.content(self.job.training))
        wanted = Wanted(asked.brief, asked.count, judged=asked.judged)

        async def answered(teacher: Teacher, report: Progress) -> Distilled:
            return await distil(teacher, wanted, asked.prompts, report)

        found = self._asking(address, asked.budget).run(scratch / ANSWERS, answered)
        self._tell_stopped(found.stopped)
        self._tell_kept(f"{found.kept} answers of {address.model} are learnt from", found.rejected)
        rows = self.registry.data.add(f"{name}.jsonl", found.rows)
        teacher = _taught(address, found.tokens, found.rejection_rate)
        return queue.goes_on_with(self.job, self.holder, rows, teacher)

    def _created(self, asked: Creation, scratch: Path) -> Job:
        """With rows made of what somebody wrote and said, and a persona in its card."""
        said = self.job.task.card
        known = said.get("persona") or {}
        voice = known.get("name") or title(self.job.specialist)
        material = read_material(self._files(asked, scratch), voice, self.pulse.go_on)
        for unused in material.unused:
            self.pulse.tell(unused, "warn")
        given = persona_of(material, known)
        make = partial(creation.created, material, given, voice)
        found, teacher = self._made(asked, make, scratch / ANSWERS)
        self._tell_kept(f"{found.count} rows are made of {found.sources} places", {})
        rows = self.registry.data.add("rows.jsonl", found.rows)
        card = _card(found, material, said)
        return self.registry.queue.goes_on_with(self.job, self.holder, rows, teacher, card)

    def _made(self, asked: Creation, make: Make, notebook: Path) -> tuple[Created, Taught | None]:
        """The rows, and who thought of questions if anybody did."""
        if asked.teacher is None or not asked.questions:
            return asyncio.run(make(None, lambda *_: None)), None

        async def interviewed(teacher: Teacher, report: Progress) -> Created:
            asking = creation.Asking(teacher, asked.questions, own_words=False)
            return await make(asking, report)

        address = self._address(asked.teacher)
        found = self._asking(address, asked.budget).run(notebook, interviewed)
        return found, self._interviewed(found, address)

    def _files(self, asked: Creation, scratch: Path) -> list[Path]:
        """The material under its own names, each in a folder of its own."""
        found = []
        for number, identity in enumerate(asked.files):
            name = PurePosixPath(self.registry.data.get(identity).name).name or identity
            file = scratch / "material" / str(number) / name
            file.parent.mkdir(parents=True)
            file.symlink_to(self.registry.data.path(identity).absolute())
            found.append(file)
        return found

    def _address(self, name: str) -> Address:
        address = self.teachers.get(name)
        if address is None:
            raise TeacherFailed(f"this server has no teacher of the name '{name}' any more")
        return address

    def _asking(self, address: Address, budget: int) -> Asking:
        return Asking(address, budget, Kept(self.registry, self.job, self.holder), self.pulse)

    def _interviewed(self, found: Created, address: Address) -> Taught | None:
        interview = found.interview
        if interview is None:
            return None
        self._tell_stopped(interview.stopped)
        answers = f"{len(interview.exchanges)} answers of {address.model} are learnt from"
        self._tell_kept(answers, interview.rejected)
        return _taught(address, interview.tokens, interview.rejection_rate)

    def _tell_stopped(self, why: str | None) -> None:
        if why is not None:
            self.pulse.tell(f"The teacher was asked no more: {why}.", "warn")

    def _tell_kept(self, what: str, rejected: Mapping[str, int]) -> None:
        left_out = "".join(f", {count} {why}" for why, count in rejected.items())
        self.pulse.tell(f"{what}{left_out}.")


def _taught(address: Address, tokens: int, rejected: float) -> Taught:
    return Taught(name=address.model, license=address.license, tokens=tokens, rejected=rejected)


def _card(found: Created, material: Material, said: Mapping[str, object]) -> dict[str, object]:
    """What was found of the persona, and over it what was said."""
    return fields_of(found.persona, material) | {
        name: value for name, value in said.items() if name != "persona"
    }
