"""`POST /v1/feedback`."""

from typing import Any

from fastapi import APIRouter, Request

from registry.errors import UnknownAnswer
from router.api.authorization import Asker
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.feedback import FeedbackRequest

routes = APIRouter(tags=["generation"])


@routes.post("/v1/feedback", openapi_extra=json_body(FeedbackRequest))
async def rate(service: Served, request: Request, caller: Asker) -> dict[str, Any]:
    """Say what you think of an answer; a version on trial that does worse is taken back."""
    body = parse(await read_json(request), FeedbackRequest)
    ids = await service.answer_ids()
    answered = ids.read(body.id)
    if answered is None:
        raise UnknownAnswer(body.id)
    rated = {"id": body.id, "object": "feedback", "rating": body.rating}
    trials, said = service.seen_by(caller).trials, (body.rating, body.correction)
    if answered.digest is None:
        await service.pools.writing.run(trials.rate_base, body.id, *said)
        return rated | {"specialist": None, "version": None}
    specialist, version = await service.pools.writing.run(
        trials.rate, body.id, answered.digest, *said
    )
    await service.refresh()
    return rated | {"specialist": specialist, "version": version}
