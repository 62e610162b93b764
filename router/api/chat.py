"""`POST /v1/chat/completions`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from router.api.authorization import Asker
from router.api.conversation import converse
from router.api.generation import Ready
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.api.stored import kept
from router.engine import Items
from router.wire.body import parse
from router.wire.chat import ChatRequest
from router.wire.chat_writer import ChatWriter
from router.wire.writer import Envelope

routes = APIRouter(tags=["generation"])


@routes.post("/v1/chat/completions", openapi_extra=json_body(ChatRequest))
async def create_chat_completion(service: Served, request: Request, caller: Asker) -> Response:
    """Continue a conversation, with the specialist that fits it (`auto`) or one by name."""
    body = parse(await read_json(request), ChatRequest)

    def writer(head: Envelope, _: object = None) -> ChatWriter:
        return ChatWriter(head, body.stream_options, body.logprobs)

    def items(answer: Ready) -> Items:
        if not body.store:
            return answer.items
        # What was likely of each token is not kept: it may be a thousand times the answer.
        return kept(service, caller, body, answer, ChatWriter(answer.head).body, body.n)

    return await converse(request, service, caller, "chat", body, writer, body.n, items)
