"""A job: a training that somebody asked for, how far it is, and what there is to tell of it.

queued → validating_files → running → succeeded
│              └────→ failed
└───────────────────→ failed
paused ⇄ queued; whatever has not ended may be cancelled, whatever is not done paused
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy import Connection, Row, insert, update

from registry.card import Teacher
from registry.clock import aware, now
from registry.effort import Effort
from registry.method import Method
from registry.quota import Quota, read
from registry.tables import job_events, jobs


class Status(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    VALIDATING = "validating_files"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY = (Status.QUEUED, Status.VALIDATING, Status.RUNNING)
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
Level = Literal["info", "warn", "error"]
Kind = Literal["message", "metrics"]


class Distillation(BaseModel):
    """What a teacher is asked before anything is trained.

    Attributes:
        teacher: by the name that the server's operator gave it.
        brief: the instructions that it follows; None where it answers as it is.
        prompts: requests to answer.
        count: of requests; it thinks of more where there are fewer prompts.
        budget: tokens that it may read and write.
        judged: whether it judges its answers, and poor ones are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    brief: str | None = None
    prompts: tuple[str, ...] = ()
    count: int = 200
    budget: int = 500_000
    judged: bool = True


class Creation(BaseModel):
    """What somebody wrote and said, to make rows of.

    Attributes:
        files: ids of the files.
        teacher: the name of the one that thinks of questions about it; None goes by its titles.
        questions: for each passage.
        budget: tokens that the teacher may read and write.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...]
    teacher: str | None = None
    questions: int = 3
    budget: int = 500_000


class Task(BaseModel):
    """What is to be done.

    Attributes:
        model: what is trained on from, as it was asked for.
        parent: the digest of that version; None for the base.
        training_file: its id; of a distillation, until that is done, what is asked; of a creation
            its first file.
        training_name: its name.
        validation_file: its id, if there is one.
        validation_name: its name.
        method: `supervised` learns from chats, `dpo` from preference pairs.
        hyperparameters: those that were asked for; the rest is chosen.
        effort: by which the rest is chosen.
        seed: makes it repeatable.
        suffix: as it was asked for.
        card: fields of the specialist's card; the others are those of its version in service.
        publish: whether the training requests that serve routing are shown in the card.
        distils: the name of the teacher that is asked for the rows, if one is.
        creation: what the rows are made of first, if they are.
        teacher: whose answers the rows are, if they are a model's.
        instruction: what the base was told when it gave them: the specialist learns to answer
            without it as the base does with it. None learns the answers as they are.
        metadata: whatever the asker wants to find there again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    parent: str | None = None
    training_file: str
    training_name: str = ""
    validation_file: str | None = None
    validation_name: str = ""
    method: Method = "supervised"
    hyperparameters: dict[str, float] = {}
    effort: Effort = "standard"
    seed: int = 0
    suffix: str | None = None
    card: dict[str, Any] = {}
    publish: bool = False
    distils: str | None = None
    creation: Creation | None = None
    teacher: Teacher | None = None
    instruction: str | None = None
    metadata: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_noted(cls, fields: Any) -> Any:
        """Tasks of earlier releases have a description alone where now there is a card."""
        if not isinstance(fields, dict) or "description" not in fields:
            return fields
        rest = {name: value for name, value in fields.items() if name != "description"}
        return rest | {"card": {"description": fields["description"]}}


@dataclass(frozen=True, slots=True)
class Job:
    """A training; moments are in UTC.

    Attributes:
        id: `ftjob-…`.
        seq: its number.
        owner: whose it is.
        actor: the key that asked for it.
        quota: that key's.
        specialist: what it will be a version of.
        task: what was asked for.
        training: the blob of the rows.
        validation: the blob of the rows that it is judged by, if they were given.
        status: how far it is.
        created: when it was asked for.
        began: when somebody last began to train it, or to go on.
        ended: when it was done, whatever the end.
        expected: when it may be done.
        checkpoint: the blob from which it goes on.
        outcome: what came of it, by name.
        error: why it failed: `code`, `message`, `param`.
    """

    id: str
    seq: int
    owner: str | None
    actor: str | None
    quota: Quota
    specialist: str
    task: Task
    training: str
    validation: str | None
    status: Status
    created: datetime
    began: datetime | None
    ended: datetime | None
    expected: datetime | None
    checkpoint: str | None
    outcome: Mapping[str, Any]
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that there is to tell of a job."""

    id: str
    created: datetime
    level: Level
    kind: Kind
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


def move(connection: Connection, seq: int, status: Status, **more: object) -> None:
    """Say how far a job is."""
    ended = {"ended": now(), "expected": None} if status in ENDED else {}
    values = {"status": status, **ended, **more}
    connection.execute(update(jobs).where(jobs.c.seq == seq).values(values))


def tell(
    connection: Connection,
    seq: int,
    level: Level,
    message: str,
    kind: Kind = "message",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add something to a job's events."""
    values = {
        "job": seq,
        "created": now(),
        "level": level,
        "kind": kind,
        "message": message,
        "data": json.dumps(data or {}),
    }
    connection.execute(insert(job_events).values(values))


def to_job(row: Row[Any]) -> Job:
    """A row of the table as a job."""
    return Job(
        id=row.id,
        seq=row.seq,
        owner=row.owner,
        actor=row.actor,
        quota=read(row.quota),
        specialist=row.specialist,
        task=Task.model_validate_json(row.task),
        training=row.training,
        validation=row.validation,
        status=Status(row.status),
        created=aware(row.created),
        began=aware(row.began),
        ended=aware(row.ended),
        expected=aware(row.expected),
        checkpoint=row.checkpoint,
        outcome=json.loads(row.outcome),
        error=None if row.error is None else json.loads(row.error),
    )


def to_event(row: Row[Any]) -> Event:
    """A row of the table of events as one."""
    created, data = aware(row.created), json.loads(row.data)
    return Event(f"ftevent-{row.id}", created, row.level, row.kind, row.message, data)
