"""Many things that are waited for at once, of which none outlives the end of the others."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Found = TypeVar("Found")


async def together(asked: Iterable[Coroutine[Any, Any, Found]]) -> list[Found]:
    """All results, in the order of what was asked.

    `asyncio.gather` lets the others go on after a failure, and use what their caller has closed.

    Raises:
        Exception: the first failure, once the others were cancelled and have ended.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
