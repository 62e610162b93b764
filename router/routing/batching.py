"""Texts that are asked about at the same time are read together, and repeated ones once."""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from router.routing.encoder import Encoder, Vectors
from router.routing.vectors import Latest

TOGETHER = 32
"""Texts that are read in one call at most."""
KEPT = 4096
"""Texts whose vectors are remembered."""


@dataclass(slots=True)
class _Asked:
    """A text that waits for its vector."""

    text: str
    vector: Vectors | None = None
    failure: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.vector is not None or self.failure is not None


class Batched:
    """An `Encoder` for many threads at once, made from one that is faster with several texts.

    Whoever finds nobody reading reads for all who wait; nobody waits for more to come.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name = encoder.name
        self.dimensions = encoder.dimensions
        self.identity = encoder.identity
        self._waiting: deque[_Asked] = deque()
        self._kept = Latest(KEPT)
        self._state, self._reading = threading.Lock(), threading.Lock()

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions]."""
        asked = [self._ask(text) for text in texts]
        for each in asked:
            while not each.is_done:
                with self._reading:
                    if not each.is_done:
                        self._read()
        return np.stack([_found(each) for each in asked])

    def windows(self, text: str) -> list[str]:
        """The text; of one too long to be read at once its parts, the most telling first."""
        return self._encoder.windows(text)

    def count(self, text: str) -> int:
        """Tokens of a text, as far as it is read."""
        return self._encoder.count(text)

    def _ask(self, text: str) -> _Asked:
        with self._state:
            asked = _Asked(text, self._kept.get(text))
            if not asked.is_done:
                self._waiting.append(asked)
            return asked

    def _read(self) -> None:
        with self._state:
            some = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
        texts = list(dict.fromkeys(each.text for each in some))
        try:
            found = dict(zip(texts, self._encoder.encode(texts), strict=True))
        except Exception:
            # One of them cannot be read; the others can.
            for each in some:
                self._read_alone(each)
            return
        for each in some:
            each.vector = found[each.text]
        with self._state:
            self._kept.keep(found)

    def _read_alone(self, asked: _Asked) -> None:
        try:
            [asked.vector] = self._encoder.encode([asked.text])
        except Exception as error:
            asked.failure = error


def _found(asked: _Asked) -> Vectors:
    if asked.vector is None:
        raise asked.failure or RuntimeError("nothing was read")
    return asked.vector
