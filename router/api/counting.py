"""Tells what a prompt is to the base, without an answer to it."""

from dataclasses import replace
from uuid import uuid4

from fastapi import Request

from router.answer import Choice, collect, cut_short
from router.api.connection import while_connected
from router.api.generation import Prompting
from router.engine import Reading, Usage
from router.keyring import Caller
from router.resolver import AUTO
from router.sampling import Sampling
from router.service import Service


async def prompt_tokens(request: Request, service: Service, caller: Caller, body: Prompting) -> int:
    """Tokens of a prompt, which are the same whoever answers it; see `_told` for what is raised."""
    _, usage = await _told(request, service, caller, body, echo=False)
    return usage.prompt_tokens


async def prompt_read(
    request: Request, service: Service, caller: Caller, body: Prompting
) -> tuple[str, Reading]:
    """A prompt's text, and what its tokens are; see `_told` for what is raised."""
    choice, _ = await _told(request, service, caller, body, echo=True)
    if choice.read is None:
        raise cut_short()
    return choice.text, choice.read


async def _told(
    request: Request, service: Service, caller: Caller, body: Prompting, *, echo: bool
) -> tuple[Choice, Usage]:
    """What an engine says of a prompt that is not to be answered.

    Raises:
        UnknownModel: Nobody answers to the name.
        EngineRefused: The prompt is far too long, or there is no engine, or no place.
    """
    if body.model != AUTO:
        await service.resolver.resolve(body.model, [], caller.owner)
    asked = body.generation(f"count-{uuid4().hex}", None, Sampling())
    counted = replace(asked, n=0, echo=echo, tenant=caller.tenant, whole=True)
    # It takes the place of an answer: who asks for much is not to hold up those who are answered.
    with service.engine.place(caller.tenant):
        items = service.engine.generate(counted)
        [choice], usage = await while_connected(request.receive, collect(items, 1))
    return choice, usage
