"""Multipart bodies, read within bounds; what is large lies in files that end with the request."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from registry.content import Buffer
from registry.limits import MAX_CARD_BYTES
from router.api.connection import bounded
from router.errors import InvalidRequest

MAX_PARTS = 8

Part = str | UploadFile


async def read_form(request: Request, total: int, expected: str) -> FormData:
    """A body's parts, of at most `total` bytes together; the caller closes it.

    Raises:
        BodyTooLarge: It is over the limit.
        InvalidRequest: It is no multipart; the message says what is `expected`.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        message = f"Send {expected} as multipart/form-data."
        raise InvalidRequest(message, param="content-type", code="invalid_content_type")
    parser = MultiPartParser(
        request.headers,
        bounded(request, total),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=MAX_CARD_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        message = f"The multipart body cannot be read: {error.message}"
        raise InvalidRequest(message, code="invalid_multipart") from error


@contextmanager
def content(part: Part) -> Iterator[Buffer]:
    """A part's bytes: those of a file are mapped, so that they take no memory of their own."""
    if isinstance(part, str):
        yield part.encode()
        return
    with suppress(AttributeError):
        # A spooled file that is small is in memory until it is asked to go to the disk.
        part.file.rollover()  # type: ignore[attr-defined]
    if not part.size:
        yield b""
        return
    # Not closed here: arrays may still look into it. It ends with the last of them.
    yield mmap(part.file.fileno(), 0, access=ACCESS_READ)
