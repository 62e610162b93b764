"""Threads of one purpose, so that work of another never keeps them busy."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """Runs what would block the event loop; to be closed."""

    def __init__(self, purpose: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=purpose)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in a thread of this pool, after what waits for one already."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Take no more work; what was begun goes on to its end."""
        self._executor.shutdown(wait=False)
