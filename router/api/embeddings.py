"""`POST /v1/embeddings`."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from router.api.authorization import Asker
from router.api.connection import while_connected
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.errors import InvalidRequest, UnknownModel
from router.keyring import Caller
from router.routing.encoder import MAX_CHARACTERS, Encoder, Vectors
from router.service import Service
from router.wire.body import parse
from router.wire.embedding import EmbeddingRequest, embeddings

TOGETHER = 8
"""Texts that are read at a time."""

routes = APIRouter(tags=["routing"])


@routes.post("/v1/embeddings", openapi_extra=json_body(EmbeddingRequest))
async def create_embeddings(service: Served, request: Request, caller: Asker) -> dict[str, Any]:
    """Place texts on the unit sphere, by the encoder that `auto` has, as it was released."""
    encoder, body = service.encoder, parse(await read_json(request), EmbeddingRequest)
    if body.model != encoder.name:
        raise UnknownModel(body.model, [encoder.name])
    if body.dimensions not in (None, encoder.dimensions):
        message = f"'dimensions' can only be {encoder.dimensions} for this model; remove it."
        raise InvalidRequest(message, param="dimensions")
    reading = _read(service, caller, body.input)
    vectors, tokens = await while_connected(request.receive, reading)
    return embeddings(encoder.name, vectors, tokens, body.encoding_format)


async def _read(service: Service, caller: Caller, texts: list[str]) -> tuple[Vectors, int]:
    """A vector per text, and how many tokens were read; others' texts are read between them."""
    vectors, tokens = [], 0
    for start in range(0, len(texts), TOGETHER):
        some = texts[start : start + TOGETHER]
        found, read = await service.pools.embedding.run(_encode, service.encoder, some)
        service.quotas.used(caller, read)
        vectors.append(found)
        tokens += read
    return np.concatenate(vectors), tokens


def _encode(encoder: Encoder, texts: list[str]) -> tuple[Vectors, int]:
    # What lies beyond is not read, and to tokenise it would only take time.
    read = [text[:MAX_CHARACTERS] for text in texts]
    return encoder.encode(read), sum(map(encoder.count, read))
