"""A batch: a file of requests that are answered in the background, and how far that is.

validating → in_progress → finalizing → completed
│    │            │            │
│    └────────────┴────────────┴──→ cancelling → cancelled
└──→ failed       └────────────┴──→ expired
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from registry.clock import aware

WINDOW = timedelta(hours=24)
"""After this those that are not answered stay so."""


class Status(StrEnum):
    """How far a batch is."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


UNDER_WAY = (Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELLING)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a batch cannot be begun: of its input's `line` (from 1), or of all of it (None)."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the request of an input's line `number` (from 1); `text` is a line of JSON."""

    number: int
    failed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests for one endpoint; moments are in UTC.

    Attributes:
        id: `batch-…`.
        seq: its number.
        owner: whose it is.
        actor: the id of the key that asked for it.
        endpoint: the path that all its requests are for.
        input: the id of the file of requests.
        content: the blob of that file.
        metadata: whatever the asker wants to find there again.
        status: how far it is.
        created: when it was asked for.
        began: when the first request was begun with.
        finishing: since when only its files are missing.
        cancelled: when somebody asked for its end.
        ended: when it was done, whatever the end.
        total: how many requests there are.
        completed: how many were answered.
        failed: how many were refused.
        nbytes: of what was told of them.
        problems: why it could not be begun.
        output: the id of the file of answers, once it is there.
        failures: that of refusals, if there are any.
    """

    id: str
    seq: int
    owner: str | None
    actor: str | None
    endpoint: str
    input: str
    content: str
    metadata: Mapping[str, str]
    status: Status
    created: datetime
    began: datetime | None
    finishing: datetime | None
    cancelled: datetime | None
    ended: datetime | None
    total: int
    completed: int
    failed: int
    nbytes: int
    problems: Sequence[Problem]
    output: str | None
    failures: str | None

    @property
    def expires(self) -> datetime:
        """When what is not answered stays so."""
        return self.created + WINDOW


def to_batch(row: Row[Any]) -> Batch:
    """A row of the table as a batch."""
    return Batch(
        id=row.id,
        seq=row.seq,
        owner=row.owner,
        actor=row.actor,
        endpoint=row.endpoint,
        input=row.input,
        content=row.content,
        metadata=json.loads(row.metadata),
        status=Status(row.status),
        created=aware(row.created),
        began=aware(row.began),
        finishing=aware(row.finishing),
        cancelled=aware(row.cancelled),
        ended=aware(row.ended),
        total=row.total,
        completed=row.completed,
        failed=row.failed,
        nbytes=row.nbytes,
        problems=[Problem(**each) for each in json.loads(row.problems)],
        output=row.output,
        failures=row.failures,
    )


def written(problems: Sequence[Problem]) -> str:
    """As the table holds them."""
    return json.dumps([asdict(each) for each in problems])
