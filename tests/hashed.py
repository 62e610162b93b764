"""The fake encoder: hashed words, so that texts which share words lie near each other."""

import re
import zlib

import numpy as np

from router.routing.encoder import Vectors

WINDOW = 64


class HashedWords:
    """A deterministic `Encoder` without weights, for tests and dry runs."""

    def __init__(self, dimensions: int = 256) -> None:
        self.name = "hashed-words"
        self.dimensions = dimensions
        self.identity = f"{type(self).__name__}-{dimensions}"
        self.encoded: list[str] = []

    def windows(self, text: str) -> list[str]:
        """The text, or its last and its first WINDOW words, and the text."""
        words = text.split()
        if len(words) <= WINDOW:
            return [text]
        return [" ".join(words[-WINDOW:]), " ".join(words[:WINDOW]), text]

    def count(self, text: str) -> int:
        """The text's words."""
        return len(text.split())

    def encode(self, texts: list[str]) -> Vectors:
        """Counts of hashed lower-case words on the unit sphere, float32 [n, dimensions]."""
        self.encoded.extend(texts)
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()) or [text]:
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit
