"""`/v1/chat/completions`, once they are answered: those that were asked to be kept."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from registry.conversations import Conversation
from registry.errors import StorageError
from registry.rating import Rating
from router.answer import Choice
from router.api.authorization import Asker, Writer
from router.api.generation import Ready
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.engine import Items, Usage
from router.keyring import Caller
from router.redaction import redacted_all
from router.service import Service
from router.wire.body import parse
from router.wire.metadata import wanted_metadata
from router.wire.page import Order, page, page_of
from router.wire.stored import DescribeRequest, completion, learnable, messages
from router.wire.writer import Json

logger = logging.getLogger(__name__)

CHATS = "chatcmpl-"
"""How the ids of these answers begin."""
Limit = Annotated[int, Query(ge=1, le=100)]


routes = APIRouter(prefix="/v1/chat/completions", tags=["generation"])


@routes.get("")
async def list_kept(
    service: Served,
    request: Request,
    caller: Asker,
    limit: Limit = 20,
    after: str | None = None,
    order: Order = "asc",
    model: str | None = None,
) -> dict[str, Any]:
    """A page of your answers that were asked for with `store`."""
    kept = service.seen_by(caller).conversations
    wanted, latest_first = wanted_metadata(request), order == "desc"
    found, more = await service.pools.exporting.run(
        lambda: kept.list(limit, after, model, wanted, kind=CHATS, latest_first=latest_first)
    )
    return page([completion(each) for each in found], more=more)


@routes.get("/{identity}")
async def show(service: Served, identity: str, caller: Asker) -> dict[str, Any]:
    """A kept answer."""
    kept = service.seen_by(caller).conversations
    return completion(await service.pools.reading.run(kept.get, identity))


@routes.get("/{identity}/messages")
async def list_messages(
    service: Served,
    identity: str,
    caller: Asker,
    limit: Limit = 20,
    after: str | None = None,
    order: Order = "asc",
) -> dict[str, Any]:
    """A page of what a kept answer was to."""
    kept = service.seen_by(caller).conversations
    found = messages(await service.pools.reading.run(kept.get, identity))
    return page_of(found, limit, after, order)


@routes.post("/{identity}", openapi_extra=json_body(DescribeRequest))
async def describe(
    service: Served, request: Request, identity: str, caller: Asker
) -> dict[str, Any]:
    """Put other labels on a kept answer."""
    body = parse(await read_json(request), DescribeRequest)
    kept = service.seen_by(caller).conversations
    return completion(await service.pools.writing.run(kept.describe, identity, body.metadata))


@routes.delete("/{identity}")
async def forget(service: Served, identity: str, caller: Asker) -> dict[str, Any]:
    """Forget a kept answer, and what it was to."""
    await service.pools.writing.run(service.seen_by(caller).conversations.remove, identity)
    return {"id": identity, "object": "chat.completion.deleted", "deleted": True}


conversations = APIRouter(prefix="/v1", tags=["fine-tuning"])


class Selection(BaseModel):
    """Which conversations are wanted, and how."""

    limit: int = Field(100, ge=1, le=100)
    after: str | None = None
    rating: list[Rating] = []
    since: datetime | None = None
    redact: bool = True


Chosen = Annotated[Selection, Query()]


@conversations.get("/base/conversations")
async def list_of_base(service: Served, caller: Writer, asked: Chosen) -> dict[str, Any]:
    """A page of what your keys asked and no specialist answered, without personal data."""
    kept = service.seen_by(caller).conversations

    def read() -> dict[str, Any]:
        found, more = kept.of_base(
            asked.limit, asked.after, ratings=asked.rating, since=asked.since
        )
        return _learnable(found, more=more, redact=asked.redact)

    return await service.pools.exporting.run(read)


@conversations.get("/specialists/{owner}/{name}/conversations")
async def list_given(
    service: Served, owner: str, name: str, caller: Writer, asked: Chosen
) -> dict[str, Any]:
    """A page of what your specialist was asked by your keys, or by others who give it for that.

    Personal data is taken out, as far as its form tells it; only of what your own keys asked
    `redact=false` leaves it in.
    """
    kept = service.seen_by(caller).conversations

    def read() -> dict[str, Any]:
        found, more = kept.of_specialist(
            f"{owner}/{name}",
            asked.limit,
            asked.after,
            ratings=asked.rating,
            since=asked.since,
            own=not asked.redact,
        )
        return _learnable(found, more=more, redact=asked.redact)

    return await service.pools.exporting.run(read)


def _learnable(found: Sequence[Conversation], *, more: bool, redact: bool) -> dict[str, Any]:
    """A page of them. To take personal data out of a hundred long ones takes seconds."""
    cleaned: Callable[[Any], Any] = redacted_all if redact else (lambda value: value)
    return page([learnable(each, cleaned) for each in found], more=more)


class Keepable(Protocol):
    """A request whose answer can be kept."""

    @property
    def model(self) -> str:
        """Who was asked for."""

    @property
    def asked(self) -> dict[str, Any]:
        """What was sent to be answered, in the words of chats."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Labels, to find it by."""


async def kept(
    service: Service,
    caller: Caller,
    body: Keepable,
    answer: Ready,
    written: Callable[[Sequence[Choice], Usage], Json],
    count: int = 1,
) -> Items:
    """The items of an answer; before the last one it is kept, `written` as if in one piece.

    Where it cannot be kept it is sent all the same.
    """
    choices = [Choice(index) for index in range(count)]
    async with aclosing(answer.items) as items:
        async for item in items:
            if isinstance(item, Usage):
                conversation = Conversation(
                    id=answer.head.id,
                    model=body.model,
                    request=body.asked,
                    answer=written(choices, item),
                    metadata=body.metadata,
                    specialist=answer.decision.specialist,
                )
                await _keep(service, caller, conversation)
            else:
                choices[item.index].add(item)
            yield item


async def _keep(service: Service, caller: Caller, conversation: Conversation) -> None:
    try:
        await service.pools.writing.run(service.seen_by(caller).conversations.keep, conversation)
    except StorageError as error:
        logger.warning("the conversation %s is not kept: %s", conversation.id, error)
