"""Trainers: take jobs from the queue and do them."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.errors import (
    Conflict,
    InvalidInput,
    Lost,
    NotOwned,
    QuotaExceeded,
    StorageError,
    StoreFailed,
    UnknownObject,
    UnknownSpecialist,
)
from registry.job import Job
from registry.registry import Registry
from specialists.base import Base
from specialists.errors import TeacherFailed, TrainingDataError, TrainingStopped
from specialists.training.making import InvalidValidation, Making
from specialists.training.pulse import Pulse
from specialists.training.teacher import Address

logger = logging.getLogger(__name__)

OURS = "Something went wrong in the trainer; the job's id is in its log."


class Trainer:
    """Does jobs, one after another."""

    def __init__(
        self,
        registry: Registry,
        base: Base,
        holder: str,
        most: int = 1,
        behave: Callable[[], None] = lambda: None,
        teachers: Mapping[str, Address] | None = None,
    ) -> None:
        """Do jobs of a registry.

        Args:
            registry: where they are asked for, and where the results go.
            base: what is trained for.
            holder: this trainer's name, which no other has.
            most: jobs that may be under way at once, whoever trains them.
            behave: called first in the thread that computes; the one that keeps the registry
                informed stays as it is.
            teachers: who may be asked, by their names.
        """
        self._registry = registry
        self._base = base
        self._holder = holder
        self._most = most
        self._teachers = teachers or {}
        self._computing = ThreadPoolExecutor(1, "training", initializer=behave)

    def work(self) -> bool:
        """Do the next job to its end, whatever that is; False when there is none to do.

        Raises:
            StorageError: the registry failed; another trainer will go on with the job.
        """
        job = self._registry.queue.take(self._holder, self._most)
        if job is None:
            return False
        queue = self._registry.queue
        pulse = Pulse(queue, job, self._holder, self._most)
        try:
            with pulse.beating(), tempfile.TemporaryDirectory() as scratch:
                seen = self._registry.seen_by(job.owner, job.actor, job.quota)
                making = Making(seen, self._base, job, self._holder, pulse, self._teachers)
                done = self._computing.submit(making.done, Path(scratch))
                outcome = _awaited(done, pulse)
            queue.succeed(job, self._holder, outcome)
        except (TrainingStopped, Lost):
            queue.release(job, self._holder)
        except StoreFailed:
            # Not the job's fault: it is tried again as often as it takes.
            with suppress(StorageError):
                queue.release(job, self._holder)
            raise
        except StorageError:
            raise
        except Exception as error:
            with suppress(Lost):
                queue.fail(job, self._holder, *_reason(job, error))
        return True


def _awaited(done: "Future[dict[str, Any]]", pulse: Pulse) -> dict[str, Any]:
    try:
        return done.result()
    except (KeyboardInterrupt, SystemExit):
        # The process ends no sooner than the thread that computes: let it come to a checkpoint.
        pulse.lost.set()
        raise


def _source(job: Job) -> str:
    """What its rows come from."""
    if job.task.distils is not None:
        return "distillation"
    return "training_file" if job.task.creation is None else "creation"


def _reason(job: Job, error: Exception) -> tuple[str, str, str | None]:
    """What is said of a job that cannot be done: code, message and parameter."""
    match error:
        case InvalidValidation():
            return "invalid_validation_file", str(error), "validation_file"
        case TeacherFailed():
            return "teacher_failed", str(error), _source(job)
        case TrainingDataError():
            return f"invalid_{_source(job)}", str(error), _source(job)
        case UnknownObject():
            return "file_not_found", error.message, _source(job)
        case InvalidInput():
            return error.code, error.message, error.param
        case Conflict():
            return error.code, error.message, None
        case QuotaExceeded():
            return "insufficient_quota", error.message, None
        case NotOwned() | UnknownSpecialist():
            return "specialist_not_found", error.message, "model"
        case _:
            logger.error("job %s failed", job.id, exc_info=error)
            return "server_error", OURS, None
