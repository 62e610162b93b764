"""`/v1/responses`: answers, and those that were asked to be kept."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from registry.conversations import Conversation
from registry.errors import UnknownObject
from router.answer import Choice
from router.api.authorization import Asker
from router.api.conversation import converse
from router.api.counting import prompt_tokens
from router.api.generation import Ready
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.api.stored import Limit, kept
from router.engine import Items, Usage
from router.errors import InvalidRequest
from router.keyring import Caller
from router.service import Service
from router.wire.body import parse
from router.wire.chat_writer import ChatWriter
from router.wire.page import Order, page_of
from router.wire.response import ResponseRequest
from router.wire.response_writer import ResponseWriter
from router.wire.stored import RESPONSE, asked_items, conversation, response
from router.wire.writer import Json

routes = APIRouter(prefix="/v1/responses", tags=["generation"])


@routes.post("", openapi_extra=json_body(ResponseRequest))
async def create_response(service: Served, request: Request, caller: Asker) -> Response:
    """Answer a conversation: all its items, or those that come after a kept answer."""
    body = await _whole(service, caller, parse(await read_json(request), ResponseRequest))

    def items(answer: Ready) -> Items:
        if not body.store:
            return answer.items
        return kept(service, caller, body, answer, lambda *said: _written(body, answer, *said))

    return await converse(
        request,
        service,
        caller,
        "response",
        body,
        lambda head, sampling: ResponseWriter(head, body, sampling),
        kept=items,
    )


@routes.post("/input_tokens", openapi_extra=json_body(ResponseRequest))
async def count_tokens(service: Served, request: Request, caller: Asker) -> dict[str, Any]:
    """Count the tokens of a conversation that is not to be answered."""
    body = await _whole(service, caller, parse(await read_json(request), ResponseRequest))
    count = await prompt_tokens(request, service, caller, body)
    return {"object": "response.input_tokens", "input_tokens": count}


@routes.get("/{identity}")
async def show_response(service: Served, identity: str, caller: Asker) -> dict[str, Any]:
    """A kept answer."""
    return response(await _kept(service, caller, identity))


@routes.get("/{identity}/input_items")
async def list_items(
    service: Served,
    identity: str,
    caller: Asker,
    limit: Limit = 20,
    after: str | None = None,
    order: Order = "desc",
) -> dict[str, Any]:
    """A page of what a kept answer was to."""
    return page_of(asked_items(await _kept(service, caller, identity)), limit, after, order)


@routes.delete("/{identity}")
async def forget_response(service: Served, identity: str, caller: Asker) -> dict[str, Any]:
    """Forget a kept answer, and what it was to."""
    await _kept(service, caller, identity)
    await service.pools.writing.run(service.seen_by(caller).conversations.remove, identity)
    return {"id": identity, "object": "response", "deleted": True}


def _written(body: ResponseRequest, answer: Ready, choices: Sequence[Choice], usage: Usage) -> Json:
    """An answer as it is kept: as a chat's, to be learnt from, and as it is sent."""
    sent = ResponseWriter(answer.head, body, answer.sampling).body(choices, usage)
    return ChatWriter(answer.head).body(choices, usage) | {RESPONSE: sent}


async def _whole(service: Service, caller: Caller, body: ResponseRequest) -> ResponseRequest:
    """The same request, after the kept answer that it goes on from."""
    if body.previous_response_id is None:
        return body
    before = await _previous(service, caller, body.previous_response_id)
    return body.after(conversation(before))


async def _kept(service: Service, caller: Caller, identity: str) -> Conversation:
    """A kept answer of this API.

    Raises:
        UnknownObject: there is none of the caller's.
    """
    found = await service.pools.reading.run(service.seen_by(caller).conversations.get, identity)
    if RESPONSE not in found.answer:
        raise UnknownObject("response", identity)
    return found


async def _previous(service: Service, caller: Caller, identity: str) -> Conversation:
    """The kept answer that a request goes on from.

    Raises:
        InvalidRequest: there is none of the caller's.
    """
    try:
        return await _kept(service, caller, identity)
    except UnknownObject as error:
        raise InvalidRequest(
            f"'previous_response_id' is '{identity}', which is no answer that was kept; ask for"
            " that with 'store': true, or send its items in 'input'.",
            param="previous_response_id",
            code="previous_response_not_found",
        ) from error
