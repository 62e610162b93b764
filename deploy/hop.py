"""One hop from a router to an engine replica: a socket on one machine, else a call of an actor."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException

from deploy.affinity import Affinity
from deploy.call import Call
from deploy.errors import EngineLost
from deploy.nearby import ENGINES, Nearby
from deploy.pipe import Pipe
from router.engine import Items, Usage
from router.errors import Overloaded, Unavailable


class Hop:
    """Where generations are sent, and what comes back."""

    def __init__(self, handle: Any, engines: Nearby | None = None) -> None:
        """Send them to the replicas behind a handle, of which `engines` are on this machine."""
        self._stream = handle.options(stream=True, method_name="generate")
        self._engines = engines or Nearby(ENGINES)

    async def items(self, call: Call) -> Items:
        """What a replica answers; which one is noted in the call. Closing it ends the work there.

        Raises:
            RouterError: the replica refused.
            EngineLost: it ended before its answer did.
        """
        begun = False
        async with self._nearby(call) as pipe:
            answer = _by_serve(self._stream, call) if pipe is None else _by_socket(pipe, call)
            async with aclosing(answer) as items:
                async for item in items:
                    if isinstance(item, BaseException):
                        raise item
                    if not begun:
                        begun = True
                        _begun(call)
                    yield item

    @asynccontextmanager
    async def _nearby(self, call: Call) -> AsyncIterator[Pipe | None]:
        """A way to the replica that answers soonest; None where Serve alone knows one.

        Raises:
            EngineLost: it says nothing.
        """
        affinity = Affinity.latest
        if affinity is None or not self._engines.names():
            yield None
            return
        adapter = call.generation.adapter
        ranked = affinity.ranked(adapter, lambda name: self._rows(affinity, name), call.tried)
        if not ranked:
            yield None
            return
        best = ranked[0]
        async with self._engines.entered(best) as pipe:
            silent = self._engines.is_silent(best)
            if pipe is not None or silent:
                call.replica, call.choices = best, len(ranked)
            if silent:
                affinity.silent(best)
                raise EngineLost
            if pipe is not None and adapter is not None:
                affinity.sent(adapter, best)
            yield pipe

    def _rows(self, affinity: Affinity, name: str) -> int | None:
        """Rows of a replica, where that is known later than from its report."""
        visits = self._engines.visits(name)
        return None if visits is None else visits + affinity.calls(name)


def _begun(call: Call) -> None:
    """Tell those who send requests that a replica has this call's adapter."""
    affinity, adapter = Affinity.latest, call.generation.adapter
    if affinity is not None and adapter is not None and call.replica:
        affinity.answered(adapter, call.replica)


async def _by_socket(pipe: Pipe, call: Call) -> AsyncGenerator[Any, None]:
    try:
        await pipe.send(call)
    except ConnectionError as error:
        raise EngineLost from error
    while (item := await pipe.receive()) is not None:
        yield item
        if isinstance(item, Usage):
            return
    raise EngineLost


async def _by_serve(stream: Any, call: Call) -> AsyncGenerator[Any, None]:
    response, item = stream.remote(call), None
    try:
        async for item in response:
            yield item
    except RayActorError as error:
        # After the usage nothing is missed that does not come.
        if not isinstance(item, Usage):
            raise EngineLost from error
    except BackPressureError as error:
        raise Overloaded() from error
    except RayServeException as error:
        raise Unavailable() from error
    finally:
        # Without this the replica would go on for a client that has left.
        response.cancel()
