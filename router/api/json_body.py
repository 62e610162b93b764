"""A JSON body as clients send it: of its declared type, perhaps compressed, perhaps with a BOM."""

import codecs
import zlib
from email.message import Message

from fastapi import Request

from router.api.connection import MAX_JSON_BYTES, bounded
from router.errors import BodyTooLarge, InvalidRequest, UnreadableMedia

MAX_MEMBERS = 16
GZIP = 16 + zlib.MAX_WBITS
"""Tells zlib to expect gzip's header and trailer."""


async def read_json(request: Request, limit: int = MAX_JSON_BYTES) -> bytes:
    """The body's JSON, undecoded.

    Raises:
        UnreadableMedia: It is not declared as JSON in UTF-8, or is in an encoding other than gzip.
        BodyTooLarge: It is over `limit` bytes, as it came or unpacked.
        InvalidRequest: It is not what its encoding says.
    """
    _require_json(request.headers.get("content-type", ""))
    unpack = _unpacking(request.headers.get("content-encoding", ""))
    body = b"".join([chunk async for chunk in bounded(request, limit)])
    return (_unpacked(body, limit) if unpack else body).removeprefix(codecs.BOM_UTF8)


def _require_json(declared: str) -> None:
    header = Message()
    header["content-type"] = declared
    kind, charset = header.get_content_type(), str(header.get_param("charset", "utf-8")).lower()
    if kind == "application/json" or kind.endswith("+json"):
        if charset in ("utf-8", "utf8", "us-ascii"):
            return
        raise UnreadableMedia(f"The body is declared as {charset[:32]!a}; send JSON in UTF-8.")
    raise UnreadableMedia(
        f"The body is declared as {declared[:64]!a}; send JSON, with the header "
        "'Content-Type: application/json'."
    )


def _unpacking(encoding: str) -> bool:
    """Whether the body must be unpacked."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return False
    if name in ("gzip", "x-gzip"):
        return True
    raise UnreadableMedia(
        f"The content encoding {encoding[:32]!a} is not read here; send gzip, or nothing packed."
    )


def _unpacked(body: bytes, limit: int) -> bytes:
    """A gzip body, of one or several members, unpacked up to the limit."""
    pieces, size = [], 0
    try:
        for _ in range(MAX_MEMBERS):
            member = zlib.decompressobj(GZIP)
            pieces.append(member.decompress(body, limit + 1 - size))
            size += len(pieces[-1])
            if size > limit:
                raise BodyTooLarge(limit)
            if not member.eof:
                raise InvalidRequest("The gzip body is cut short.", code="invalid_encoding")
            body = member.unused_data
            if not body:
                return b"".join(pieces)
    except zlib.error as error:
        raise InvalidRequest("The body is not gzip.", code="invalid_encoding") from error
    raise InvalidRequest("The gzip body has too many members.", code="invalid_encoding")
