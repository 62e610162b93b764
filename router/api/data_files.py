"""`/v1/files`: what specialists are made from, and what their making left."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import FileResponse

from registry.data_files import PURPOSES, DataFile, DataFiles
from registry.limits import MAX_DATA_BYTES
from router.api.authorization import Writer
from router.api.multipart import content, read_form
from router.api.schema import request_body
from router.api.serving import Served
from router.errors import InvalidRequest
from router.wire.data_file import shown
from router.wire.page import page

UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(PURPOSES)},
    },
}
FORM_BYTES = 1 << 16
"""Room for what a form says beside its file."""


routes = APIRouter(prefix="/v1/files", tags=["fine-tuning"])


@routes.post("", openapi_extra=request_body("multipart/form-data", UPLOAD_SCHEMA))
async def upload(service: Served, request: Request, caller: Writer) -> dict[str, Any]:
    """Send a file of rows to learn from, or of what rows shall be made of."""
    files = service.seen_by(caller).data
    with service.uploads.entered("uploads"):
        form = await read_form(request, MAX_DATA_BYTES + FORM_BYTES, "the file")
        try:
            part, purpose = _file(form), str(form["purpose"])
            return shown(await service.pools.uploading.run(_keep, files, part, purpose))
        finally:
            await form.close()


@routes.get("")
async def list_files(
    service: Served,
    caller: Writer,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    after: str | None = None,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """A page of your files, the latest first."""
    files, oldest_first = service.seen_by(caller).data, order == "asc"

    def some() -> tuple[Any, bool]:
        return files.list(limit, after, purpose, oldest_first=oldest_first)

    found, more = await service.pools.reading.run(some)
    return page([shown(file) for file in found], more=more)


@routes.get("/{identity}")
async def show(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """What is known of a file."""
    return shown(await service.pools.reading.run(service.seen_by(caller).data.get, identity))


@routes.get("/{identity}/content")
async def download(service: Served, identity: str, caller: Writer) -> FileResponse:
    """A file as it was sent."""
    files = service.seen_by(caller).data
    file = await service.pools.reading.run(files.get, identity)
    path = await service.pools.exporting.run(files.path, identity)
    return FileResponse(path, media_type="application/octet-stream", filename=file.name)


@routes.delete("/{identity}")
async def remove(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """Forget a file; a training that is under way goes on with it."""
    await service.pools.writing.run(service.seen_by(caller).data.remove, identity)
    return {"id": identity, "object": "file", "deleted": True}


def _file(form: FormData) -> UploadFile:
    """The file of a form.

    Raises:
        InvalidRequest: There is none, or it is for another purpose than is served.
    """
    for name in form:
        if name not in ("file", "purpose") and not name.startswith("expires_after"):
            message = f"The part {name[:64]!a} is not taken; send file and purpose."
            raise InvalidRequest(message, param=name[:64], code="unknown_parameter")
    if form.get("purpose") not in PURPOSES:
        message = f"Say what the file is for: the purposes are {' and '.join(map(repr, PURPOSES))}."
        raise InvalidRequest(message, param="purpose")
    part = form.get("file")
    if not isinstance(part, UploadFile):
        message = "The part 'file' is missing; send a file of rows."
        raise InvalidRequest(message, param="file", code="missing_required_parameter")
    return part


def _keep(files: DataFiles, part: UploadFile, purpose: str) -> DataFile:
    with content(part) as rows:
        return files.add(part.filename or "", rows, purpose)
