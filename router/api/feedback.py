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
    digest = ids.digest_of(body.id)
    if digest is None:
        raise UnknownAnswer(body.id)
    trials = service.seen_by(caller).trials
    specialist, version = await service.writing.run(
        trials.rate, body.id, digest, body.rating, body.correction
    )
    await service.refresh()
    rated = {"id": body.id, "object": "feedback", "rating": body.rating}
    return rated | {"specialist": specialist, "version": version}
