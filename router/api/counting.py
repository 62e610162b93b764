"""Tells how many tokens a conversation takes, without an answer to it."""

from dataclasses import replace
from uuid import uuid4

from fastapi import Request

from router.answer import collect
from router.api.connection import while_connected
from router.api.generation import Conversation
from router.keyring import Caller
from router.resolver import AUTO
from router.sampling import Sampling
from router.service import Service


async def prompt_tokens(
    request: Request, service: Service, caller: Caller, body: Conversation
) -> int:
    """Tokens of a conversation's prompt, which are the same whoever answers it.

    Raises:
        UnknownModel: Nobody answers to the name.
        EngineRefused: The prompt is far too long, or there is no engine, or no place.
    """
    if body.model != AUTO:
        await service.resolver.resolve(body.model, [], caller.owner)
    asked = body.generation(f"count-{uuid4().hex}", None, Sampling())
    counted = replace(asked, n=0, tenant=caller.tenant, whole=True)
    # It takes the place of an answer: who asks for much is not to hold up those who are answered.
    with service.engine.place(caller.tenant):
        items = service.engine.generate(counted)
        _, usage = await while_connected(request.receive, collect(items, 0))
    return usage.prompt_tokens
