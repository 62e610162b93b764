"""Files that are sent as they are, to be kept by whoever asked for them."""

import os
from collections.abc import Iterator
from typing import IO

from starlette.responses import StreamingResponse

PIECE_BYTES = 1 << 20


def tar_download(packed: IO[bytes], name: str) -> StreamingResponse:
    """A whole tar archive under a file name; it is closed when it was sent."""
    headers = {
        "Content-Length": str(packed.seek(0, os.SEEK_END)),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    packed.seek(0)
    return StreamingResponse(_pieces(packed), media_type="application/x-tar", headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece
