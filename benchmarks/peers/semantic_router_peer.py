"""semantic-router's own router over vectors that were made before: one JSON object in, one out.

Run by an environment that has semantic-router: python semantic_router_peer.py VECTORS.npz < JSON
The file holds "texts" and their "vectors". Takes {"routes": {name: [text, …]}, "fit": [[text, name
or null], …], "texts": [text, …]}: what it is calibrated on, and what is to be routed. Gives
{"names", "scores", "milliseconds"}: each text's best route, its confidence, and the median time.
"""

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
from semantic_router import Route
from semantic_router.encoders import DenseEncoder
from semantic_router.routers import IndexedRouter

TIMED = 200


class Kept(DenseEncoder):  # type: ignore[misc]
    """Gives the vectors that a file holds."""

    name: str = "kept"
    vectors: dict[str, Any]

    def __call__(self, docs: list[str]) -> list[list[float]]:
        """The vectors of texts."""
        return [self.vectors[text] for text in docs]


def main(file: str) -> None:
    """Route what stdin asks for."""
    asked = json.load(sys.stdin)
    kept = np.load(file)
    vectors = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    routes = [Route(name=name, utterances=texts) for name, texts in asked["routes"].items()]
    router = IndexedRouter(encoder=Kept(vectors=vectors), routes=routes)
    if asked["fit"]:
        texts, names = zip(*asked["fit"], strict=True)
        router.fit(texts, names)
    found = [router(text) for text in asked["texts"]]
    times = []
    for text in asked["texts"][:TIMED]:
        begun = time.perf_counter()
        router(text)
        times.append(time.perf_counter() - begun)
    print(json.dumps({
        "names": [choice.name for choice in found],
        "scores": [choice.confidence or 0.0 for choice in found],
        "milliseconds": 1000 * statistics.median(times),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
