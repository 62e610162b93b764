"""`/v1/fine_tuning/jobs`: ask for specialists to be made, and see how it goes."""

import string
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from registry.card import FILLED_IN, Card
from registry.card import Teacher as Taught
from registry.errors import InvalidCard, InvalidReference
from registry.identities import drawn
from registry.job import Job, Task
from registry.jobs import new_seed
from registry.limits import MAX_DATA_BYTES
from registry.reference import parse_id
from router.api.authorization import Writer
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.errors import InvalidRequest
from router.keyring import Caller
from router.service import Service
from router.wire.body import parse
from router.wire.job import (
    CreationRequest,
    DistillationRequest,
    JobRequest,
    checkpoint,
    event,
    shown,
)
from router.wire.metadata import wanted_metadata
from router.wire.page import page

NOBODY = "local"
"""Whose specialists they are where nobody has a name: without keys, or with an admin's."""
_LETTERS = string.ascii_lowercase + string.digits


routes = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"])


@routes.post("", openapi_extra=json_body(JobRequest))
async def create(service: Served, request: Request, caller: Writer) -> dict[str, Any]:
    """Have a specialist trained; once it is, `fine_tuned_model` answers."""
    body = parse(await read_json(request), JobRequest)
    return shown(await service.pools.writing.run(_create, service, caller, body))


@routes.get("")
async def list_jobs(
    service: Served,
    request: Request,
    caller: Writer,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> dict[str, Any]:
    """A page of your jobs, the latest first; `metadata[key]=value` chooses among them."""
    jobs, wanted = service.seen_by(caller).jobs, wanted_metadata(request)
    found, more = await service.pools.reading.run(jobs.list, limit, after, wanted)
    return page([shown(job) for job in found], more=more)


@routes.get("/{identity}")
async def show(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """How far a job is."""
    return shown(await service.pools.reading.run(service.seen_by(caller).jobs.get, identity))


@routes.post("/{identity}/cancel")
async def cancel(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """End a job; what it has learnt so far is lost."""
    return shown(await service.pools.writing.run(service.seen_by(caller).jobs.cancel, identity))


@routes.post("/{identity}/pause")
async def pause(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """Let a job wait."""
    return shown(await service.pools.writing.run(service.seen_by(caller).jobs.pause, identity))


@routes.post("/{identity}/resume")
async def resume(service: Served, identity: str, caller: Writer) -> dict[str, Any]:
    """Let a paused job go on from where it is."""
    return shown(await service.pools.writing.run(service.seen_by(caller).jobs.resume, identity))


@routes.get("/{identity}/events")
async def events(
    service: Served,
    identity: str,
    caller: Writer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: str | None = None,
) -> dict[str, Any]:
    """What there is to tell of a job, the latest first."""
    jobs = service.seen_by(caller).jobs
    found, more = await service.pools.reading.run(jobs.events, identity, limit, after)
    return page([event(told) for told in found], more=more)


@routes.get("/{identity}/checkpoints")
async def checkpoints(
    service: Served, identity: str, caller: Writer, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> dict[str, Any]:
    """The versions that a job left."""
    job = await service.pools.reading.run(service.seen_by(caller).jobs.get, identity)
    found = [checkpoint(job, each) for each in job.outcome.get("checkpoints", [])]
    return page(found[:limit], more=len(found) > limit)


def _create(service: Service, caller: Caller, body: JobRequest) -> Job:
    """Note what is asked for; blocks on the registry.

    Raises:
        InvalidCard: The specialist's card cannot be like that.
        InvalidRequest: No specialist can have that name, or what is asked for goes ill together.
        UnknownModel: There is nothing of that name to train on from.
    """
    model = body.model
    if body.instruction is not None and body.method is not None and body.method.type == "dpo":
        message = "An instruction is learnt from the base's own answers, not from preferences."
        raise InvalidRequest(message, param="instruction")
    name = _named(body, caller.owner)
    _require_card({"id": name, "description": name, **body.said_of_it})
    rows, distils, creates = body.training_file, body.distillation, body.creation
    if distils is not None:
        rows = _asked_for(service, caller, distils)
    if creates is not None:
        rows = _material(service, caller, creates)
    parent = None if model == service.base else service.resolver.version(model, caller.owner)
    task = Task(
        model=model,
        parent=None if parent is None else parent.digest,
        training_file=rows or "",
        distils=None if distils is None else distils.teacher,
        creation=None if creates is None else creates.wanted,
        validation_file=body.validation_file,
        method="supervised" if body.method is None else body.method.type,
        hyperparameters=body.wanted,
        effort=body.effort,
        seed=new_seed() if body.seed is None else body.seed,
        suffix=body.suffix,
        card=body.said_of_it,
        publish=body.publish_requests,
        instruction=body.instruction,
        teacher=None if body.teacher is None else Taught(**body.teacher.model_dump()),
        metadata=body.metadata,
    )
    return service.seen_by(caller).jobs.create(name, task, caller.key)


def _asked_for(service: Service, caller: Caller, distils: DistillationRequest) -> str:
    """The id of a file with what a teacher is to be asked.

    Raises:
        InvalidRequest: There is no such teacher.
    """
    _require_teacher(service, distils.teacher, "distillation.teacher")
    content = distils.wanted.model_dump_json().encode()
    name, purpose = "distillation.json", "distillation"
    return service.seen_by(caller).data.add(name, content, purpose).id


def _material(service: Service, caller: Caller, creates: CreationRequest) -> str:
    """The id of the first of the files that rows are to be made of.

    Raises:
        InvalidRequest: There is no such teacher, or the files are too large.
        UnknownObject: There is no such file.
    """
    if creates.teacher is not None:
        _require_teacher(service, creates.teacher, "creation.teacher")
    files = [service.seen_by(caller).data.get(identity) for identity in creates.files]
    if sum(file.nbytes for file in files) > MAX_DATA_BYTES:
        message = f"The files of a creation may have {MAX_DATA_BYTES:,} bytes together."
        raise InvalidRequest(message, param="creation.files")
    return files[0].id


def _require_teacher(service: Service, name: str, param: str) -> None:
    if name not in service.teachers:
        known = ", ".join(service.teachers) or "none"
        message = f"This server has no teacher '{name}'; it has: {known}."
        raise InvalidRequest(message, param=param)


def _require_card(fields: dict[str, Any]) -> None:
    """Refuse fields of a card now that would fail only when all is trained.

    Raises:
        InvalidCard: One of them is wrong, or training fills it in.
    """
    filled_in = sorted(FILLED_IN & fields.keys())
    if filled_in:
        raise InvalidCard("is filled in by training; leave it out.", filled_in[0])
    Card.of(fields)


def _named(body: JobRequest, owner: str | None) -> str:
    """The specialist that is to be made."""
    if body.specialist is not None:
        field, identity = "specialist", body.specialist
    else:
        name = (body.suffix or f"ft-{drawn(8, _LETTERS)}").lower()
        field, identity = "suffix", f"{owner or NOBODY}/{name}"
    try:
        return parse_id(identity).id
    except InvalidReference as error:
        raise InvalidRequest(error.message, param=field) from error
