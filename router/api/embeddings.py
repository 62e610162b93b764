"""`POST /v1/embeddings`."""

from typing import Any

from fastapi import APIRouter, Request

from router.api.authorization import Asker
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.errors import InvalidRequest, UnknownModel
from router.routing.encoder import MAX_CHARACTERS, Encoder, Vectors
from router.wire.body import parse
from router.wire.embedding import EmbeddingRequest, embeddings

routes = APIRouter(tags=["routing"])


@routes.post("/v1/embeddings", openapi_extra=json_body(EmbeddingRequest))
async def create_embeddings(service: Served, request: Request, caller: Asker) -> dict[str, Any]:
    """Place texts on the unit sphere, with the encoder that `auto` routes by."""
    encoder, body = service.encoder, parse(await read_json(request), EmbeddingRequest)
    if body.model != encoder.name:
        raise UnknownModel(body.model, [encoder.name])
    if body.dimensions not in (None, encoder.dimensions):
        message = f"'dimensions' can only be {encoder.dimensions} for this model; remove it."
        raise InvalidRequest(message, param="dimensions")
    vectors, tokens = await service.embedding.run(_encode, encoder, body.input)
    service.quotas.used(caller, tokens)
    return embeddings(encoder.name, vectors, tokens, body.encoding_format)


def _encode(encoder: Encoder, texts: list[str]) -> tuple[Vectors, int]:
    """A vector per text, and how many tokens were read."""
    # What lies beyond is not read, and to tokenise it would only take time.
    read = [text[:MAX_CHARACTERS] for text in texts]
    return encoder.encode(read), sum(map(encoder.count, read))
