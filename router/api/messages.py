"""`POST /v1/messages`: conversations as Anthropic's clients send them."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from router.api.authorization import Asker
from router.api.conversation import converse
from router.api.counting import prompt_tokens
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.sampling import Sampling
from router.wire.body import parse
from router.wire.messages import MessagesRequest
from router.wire.messages_writer import MessagesWriter
from router.wire.writer import Envelope

routes = APIRouter(prefix="/v1/messages", tags=["generation"])


@routes.post("", openapi_extra=json_body(MessagesRequest))
async def create_message(service: Served, request: Request, caller: Asker) -> Response:
    """Continue a conversation in Anthropic's shape, with whoever fits it (`auto`) or is named."""
    body = parse(await read_json(request), MessagesRequest)

    def writer(head: Envelope, _: Sampling) -> MessagesWriter:
        return MessagesWriter(head, thoughts=body.thinking.wanted)

    return await converse(request, service, caller, "message", body, writer)


@routes.post("/count_tokens", openapi_extra=json_body(MessagesRequest))
async def count_tokens(service: Served, request: Request, caller: Asker) -> dict[str, int]:
    """Count the tokens of a conversation that is not to be answered."""
    body = parse(await read_json(request), MessagesRequest)
    return {"input_tokens": await prompt_tokens(request, service, caller, body)}
