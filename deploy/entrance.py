"""Where a replica is asked by others on its machine, without Serve in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.pipe import Pipe

logger = logging.getLogger(__name__)

OPEN = "[!.]*"
"""The sockets' names, once somebody listens."""
BACKLOG = 4096


class Entrance:
    """A Unix socket; each connection is one visit, which is told first how many there are."""

    def __init__(self, answer: Callable[[Pipe], Awaitable[None]], socket: Path) -> None:
        """Nobody is let in before `open`.

        Args:
            answer: what is done for a visit.
            socket: where it is; in its folder nobody else may make files.
        """
        self._answer = answer
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._closed = False
        self._visits: set[asyncio.Task[None]] = set()

    @property
    def visits(self) -> int:
        """How many there are."""
        return len(self._visits)

    async def open(self) -> None:
        """Let visits in from now on."""
        draft = self._socket.with_name(f".{self._socket.name}")
        self._server = await asyncio.start_unix_server(self._begin, draft, backlog=BACKLOG)
        # Not before it listens: who refuses is taken for dead.
        draft.rename(self._socket)

    async def close(self) -> None:
        """Let nobody in any more, and return once all have left."""
        self._closed = True
        self._socket.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        while self._visits:
            await asyncio.wait(self._visits)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.close()
            return
        visit = asyncio.create_task(self._received(Pipe(reader, writer)))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _received(self, pipe: Pipe) -> None:
        try:
            # Whoever is told nothing is free to ask elsewhere.
            await pipe.send(self.visits)
            await self._answer(pipe)
        except ConnectionError:
            pass
        except Exception:
            logger.exception("a request broke off")
        finally:
            await pipe.end()
