"""The time as the tables hold it."""

from datetime import UTC, datetime
from typing import overload


def now() -> datetime:
    """UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def as_held(moment: datetime) -> datetime:
    """Any moment as the tables hold it; one without a zone is in UTC already."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


@overload
def aware(moment: datetime) -> datetime: ...


@overload
def aware(moment: None) -> None: ...


def aware(moment: datetime | None) -> datetime | None:
    """What a table holds, with its zone."""
    return None if moment is None else moment.replace(tzinfo=UTC)
