"""Conversations that were kept, in the words of OpenAI's API.

https://platform.openai.com/docs/api-reference/chat/list
"""

from collections.abc import Callable, Sequence
from typing import Any

from registry.conversations import Conversation
from router.wire.base import Body
from router.wire.chat import ChatMessage
from router.wire.metadata import Metadata
from router.wire.moments import seconds
from router.wire.response_items import items_of


class DescribeRequest(Body):
    """Other labels for a conversation."""

    metadata: Metadata


RESPONSE = "response"
"""Where a kept answer of the Responses API holds it as it was sent; the rest is as of a chat."""


def completion(kept: Conversation) -> dict[str, Any]:
    """A kept answer, with the labels that were put on it."""
    answer = {name: value for name, value in kept.answer.items() if name != RESPONSE}
    return answer | {"metadata": dict(kept.metadata)}


def response(kept: Conversation) -> dict[str, Any]:
    """The same as the Responses API sent it."""
    return {**kept.answer[RESPONSE], "metadata": dict(kept.metadata)}


def conversation(kept: Conversation) -> list[ChatMessage]:
    """What was said up to a kept answer, and that; without the instructions, which do not last."""
    said = [*_before(kept), kept.answer["choices"][0]["message"]]
    return [ChatMessage.model_validate(turn) for turn in said]


def asked_items(kept: Conversation) -> list[dict[str, Any]]:
    """What an answer of the Responses API was to, without the instructions."""
    turns = (ChatMessage.model_validate(turn) for turn in _before(kept))
    found = (item for turn in turns for item in items_of(turn))
    return [
        {"id": f"{kept.id}-{at}", "status": "completed", **item} for at, item in enumerate(found)
    ]


def messages(kept: Conversation) -> list[dict[str, Any]]:
    """What the answer was to."""
    asked = kept.request["messages"]
    return [{**turn, "id": f"{kept.id}-{at}"} for at, turn in enumerate(asked)]


def _before(kept: Conversation) -> Sequence[dict[str, Any]]:
    first = 1 if kept.answer[RESPONSE]["instructions"] else 0
    said: Sequence[dict[str, Any]] = kept.request["messages"]
    return said[first:]


def learnable(kept: Conversation, cleaned: Callable[[Any], Any]) -> dict[str, Any]:
    """A conversation as its specialist's owner sees it, with every text `cleaned`."""
    return {
        "id": kept.id,
        "object": "conversation",
        "created": seconds(kept.created),
        "specialist": kept.specialist,
        "rating": kept.rating,
        "request": cleaned(dict(kept.request)),
        "answer": cleaned([choice["message"] for choice in kept.answer["choices"]]),
        "correction": cleaned(kept.correction),
        "metadata": cleaned(dict(kept.metadata)),
    }
