"""Messages between two processes of one machine, through a Unix socket."""

import asyncio
import pickle
from contextlib import suppress
from typing import Any

CHUNK = 256 * 1024
"""Bytes that are read at once."""
HEAD = 4
"""Bytes before each message, which say how long it is."""


class Pipe:
    """One side of a conversation. Both are ours: messages may be anything that can be pickled."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._read = bytearray()

    async def send(self, message: Any) -> None:
        """Pass one on, as soon as the other side keeps up.

        Raises:
            ConnectionError: the other side is gone.
        """
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._writer.write(len(data).to_bytes(HEAD) + data)
        await self._writer.drain()

    async def receive(self) -> Any:
        """The next one; None once the other side has ended or is gone. May be cancelled."""
        while (data := self._cut()) is None:
            try:
                read = await self._reader.read(CHUNK)
            except ConnectionError:
                return None
            if not read:
                return None
            self._read += read
        return pickle.loads(data)  # noqa: S301 - the socket is its owner's alone

    async def end(self) -> None:
        """Send no more, and close once the other side has: it reads all that was sent.

        A socket that is closed with something unread in it takes back what it sent.
        """
        with suppress(OSError):
            self._writer.write_eof()
        while await self.receive() is not None:
            pass
        self.close()

    def close(self) -> None:
        """End it for both sides."""
        self._writer.close()

    def _cut(self) -> bytes | None:
        """The next message's bytes, once all are there."""
        end = HEAD + int.from_bytes(self._read[:HEAD])
        if not HEAD < end <= len(self._read):
            return None
        data = bytes(self._read[HEAD:end])
        del self._read[:end]
        return data
