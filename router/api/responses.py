"""`POST /v1/responses`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from router.api.authorization import Asker
from router.api.conversation import converse
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.response import ResponseRequest
from router.wire.response_writer import ResponseWriter

routes = APIRouter(tags=["generation"])


@routes.post("/v1/responses", openapi_extra=json_body(ResponseRequest))
async def create_response(service: Served, request: Request, caller: Asker) -> Response:
    """Answer a conversation; nothing is stored, so that each request brings all its items."""
    body = parse(await read_json(request), ResponseRequest)
    return await converse(
        request,
        service,
        caller,
        "response",
        body,
        lambda head, sampling: ResponseWriter(head, body, sampling),
    )
