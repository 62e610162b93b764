"""`POST /v1/chat/completions`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from router.api.generation import decide, envelope, measured, respond, specialist_header
from router.api.json_body import read_json
from router.api.schema import json_body
from router.service import Service
from router.wire.body import parse
from router.wire.chat import ChatRequest
from router.wire.chat_writer import ChatWriter


def chat_routes(service: Service) -> APIRouter:
    """The route, served by `service`."""
    routes = APIRouter(tags=["generation"])

    @routes.post("/v1/chat/completions", openapi_extra=json_body(ChatRequest))
    async def create_chat_completion(request: Request) -> Response:
        """Continue a conversation, with the specialist that fits it (`auto`) or one by name."""
        body = parse(await read_json(request), ChatRequest)
        decision = await decide(service, body.model, body.turns)
        sampling = await service.defaults.complete(body.sampling, decision.digest)
        head = envelope("chat", service, decision, sampling)
        items = service.engine.generate(body.generation(head.id, decision.digest, sampling))
        return await respond(
            request,
            measured(items, "chat", service.metrics),
            ChatWriter(head, body.include_usage, body.logprobs),
            specialist_header(service, decision),
            None if body.stream else body.n,
        )

    return routes
