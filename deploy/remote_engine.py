"""The router's engine, one Serve hop away."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from router.engine import Delta, Generation, Usage
from router.errors import Overloaded, RouterError, Unavailable

ENGINE_LOST = "The engine was lost while it answered; send the request again."


class RemoteEngine:
    """Implements the router's `Engine` over a Serve deployment handle."""

    def __init__(self, handle: Any) -> None:
        self._stream = handle.options(stream=True, method_name="generate")
        self._handle = handle

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Usage, None]:
        """See `Engine.generate`. A replica lost before the first item is tried once more."""
        for last_try in (False, True):
            started = False
            try:
                async with aclosing(self._items(generation)) as items:
                    async for item in items:
                        started = True
                        yield item
            except RayActorError as error:
                if started or last_try:
                    raise Unavailable(1.0, ENGINE_LOST) from error
            else:
                return

    async def prefetch(self, adapters: Sequence[str], *, evicts: bool) -> None:
        """See `Engine.prefetch`; all replicas are told."""
        await self._all("prefetch", list(adapters), evicts)

    async def ready(self) -> bool:
        """Whether any replica can answer; one that cannot is being replaced."""
        return any(not isinstance(each, BaseException) for each in await self._all("check_health"))

    async def stats(self) -> dict[str, int]:
        """Rows, pages and bytes in use at all replicas together, and how many those are."""
        found = [each for each in await self._all("stats") if isinstance(each, dict)]
        total = Counter[str]()
        for figures in found:
            total.update(figures)
        return {**total, "replicas": len(found)}

    async def _all(self, method: str, *arguments: object) -> list[Any]:
        """What every running replica answers, an exception in the place of what one cannot."""
        try:
            response = self._handle.broadcast(method, *arguments)
            answers: list[Any] = await response.results_async(return_exceptions=True)
        except (RayError, RayServeException):
            return []
        return answers

    async def _items(self, generation: Generation) -> AsyncGenerator[Delta | Usage, None]:
        response = self._stream.remote(generation)
        try:
            async for item in response:
                if isinstance(item, RouterError):
                    raise item
                yield item
        except BackPressureError as error:
            raise Overloaded() from error
        except RayServeException as error:
            raise Unavailable() from error
        finally:
            # Without this the replica would go on for a client that has left.
            response.cancel()
