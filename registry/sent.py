"""What people sent: blobs that stay for as long as it is there, or somebody works with it."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, select

from registry.tables import batches, files, jobs


def sent(names: Collection[str] | None = None) -> list[Select[Any]]:
    """The blobs that people sent as files, and those of jobs and batches that are not done.

    Args:
        names: the blobs in question; None for all.
    """
    unfinished = jobs.c.ended.is_(None)
    of_jobs = (jobs.c.training, jobs.c.validation, jobs.c.checkpoint)
    statements = [
        select(files.c.content),
        *(select(column).where(unfinished, column.is_not(None)) for column in of_jobs),
        select(batches.c.content).where(batches.c.ended.is_(None)),
    ]
    if names is None:
        return statements
    return [each.where(each.selected_columns[0].in_(names)) for each in statements]
