"""What somebody thinks of an answer."""

from enum import StrEnum


class Rating(StrEnum):
    """One of two, so that two people mean the same by it."""

    GOOD = "good"
    BAD = "bad"
