"""`POST /v1/completions`."""

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from router.answer import generate_all
from router.api.authorization import Asker
from router.api.generation import (
    answer_headers,
    as_asked,
    counted,
    decide,
    envelope,
    require_few,
    respond,
)
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.errors import ContextOverflow, InvalidRequest
from router.resolver import AUTO
from router.wire.body import parse
from router.wire.completion import CompletionRequest
from router.wire.completion_writer import CompletionWriter
from router.wire.routing_options import refuse_steps

routes = APIRouter(tags=["generation"])


@routes.post("/v1/completions", openapi_extra=json_body(CompletionRequest))
async def create_completion(service: Served, request: Request, caller: Asker) -> Response:
    """Continue a text, or several; `max_tokens` is 16 unless it is given."""
    body = parse(await read_json(request), CompletionRequest)
    refuse_steps(body.routing)
    caller = as_asked(caller, body)
    decision = await decide(service, caller, body, _turns(body))
    sampling = await service.defaults.complete(body.sampling, decision)
    head = await envelope("text_completion", service, decision, sampling, body)
    generations = [
        replace(each, whole=not body.stream, tenant=caller.tenant, absent=caller.is_absent)
        for each in body.generations(head.id, decision.digest, sampling)
    ]
    most = (sampling.max_tokens or 0) * sum(each.n for each in generations)
    require_few(most + body.most_echoed, body.logprobs)
    items = generate_all(service.engine, generations)
    try:
        return await respond(
            service,
            request,
            counted(service, caller, decision, "text_completion", items, most),
            CompletionWriter(head, body.stream_options, body.logprobs is not None),
            answer_headers(service, caller, decision),
            None if body.stream else body.n * len(generations),
        )
    except ContextOverflow as error:
        error.param = "prompt"
        raise


def _turns(body: CompletionRequest) -> list[str]:
    """The text that `auto` goes by.

    Raises:
        InvalidRequest: `auto` was asked for, but there is not exactly one text.
    """
    texts = [prompt for prompt in body.prompts if isinstance(prompt, str)]
    if body.model == AUTO and (len(texts), len(body.prompts)) != (1, 1):
        message = (
            "'auto' reads one text per request; send one request per prompt, as text, "
            "or name a model."
        )
        raise InvalidRequest(message, param="prompt")
    return texts
