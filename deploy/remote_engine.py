"""The router's engine, one Serve hop away."""

from collections.abc import AsyncGenerator
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
        self._health = handle.options(method_name="check_health")
        self._stats = handle.options(method_name="stats")

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Usage, None]:
        """See `Engine.generate`. A replica lost before the first item is tried once more."""
        for last_try in (False, True):
            started = False
            try:
                async for item in self._items(generation):
                    started = True
                    yield item
            except RayActorError as error:
                if started or last_try:
                    raise Unavailable(1.0, ENGINE_LOST) from error
            else:
                return

    async def ready(self) -> bool:
        """Whether a replica answers."""
        try:
            await self._health.remote()
        except (RayError, RayServeException):
            return False
        return True

    async def stats(self) -> dict[str, int]:
        """Rows, pages and bytes in use at one replica."""
        figures: dict[str, int] = await self._stats.remote()
        return figures

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
