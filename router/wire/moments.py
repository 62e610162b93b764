"""Moments as OpenAI's API has them: Unix time, in seconds."""

from datetime import datetime


def seconds(moment: datetime | None) -> int | None:
    """A moment, whole; None stays what it is."""
    return None if moment is None else int(moment.timestamp())
