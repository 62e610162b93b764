"""`POST /v1/embeddings`: the request body, and the answer."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from router.routing.encoder import Vectors
from router.wire.base import ONE_OR_MORE, Body, ModelName, bounded

MAX_TEXTS = 256
Words = Annotated[str, Field(min_length=1)]


class EmbeddingRequest(Body):
    """A text, or several, to be placed on the unit sphere."""

    ignored: ClassVar[frozenset[str]] = frozenset({"user"})

    model: ModelName
    input: Annotated[
        list[Words],
        Field(min_length=1),
        bounded(MAX_TEXTS, "texts"),
        ONE_OR_MORE,
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None


def embeddings(model: str, vectors: Vectors, tokens: int, form: str) -> dict[str, Any]:
    """The answer: a vector per text, [texts, dimensions], and how many tokens were read."""
    data = [
        {"object": "embedding", "index": at, "embedding": _written(vector, form)}
        for at, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _written(vector: Vectors, form: str) -> str | Sequence[float]:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    floats: list[float] = np.asarray(vector, dtype=np.float64).tolist()
    return floats
