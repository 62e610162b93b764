"""What routing compares of texts: several layers of an encoder side by side.

The first layer says which words a text has, the last ones what it means. All are moved so that
general requests lie around the origin, turned to their main directions (principal components), and
evened out a little, so that what all requests share counts less than what sets them apart.
"""

from pathlib import Path

import numpy as np

from router.routing.encoder import Encoder, LayeredEncoder, Vectors
from router.routing.general import base_requests, general_requests
from router.routing.vectors import kept_vectors

DIMENSIONS = 640
"""Main directions that are kept: more tell hardly more, and take memory of every example."""
EVENNESS = 0.1
"""Power of a direction's variance by which its coordinates are divided."""
FLOOR = 0.1
"""Least variance that counts, as a share of the mean one."""


class View:
    """An `Encoder` whose vectors are what routing compares; made from one that shows its layers.

    Attributes:
        bases: vectors of the `base_requests`, float32 [requests, dimensions]; not to be changed.
    """

    def __init__(self, encoder: LayeredEncoder, cache: Path | None = None) -> None:
        """Look at the layers of `encoder`; `cache` keeps what takes long to compute."""
        self._encoder = encoder
        self.name = encoder.name
        layers = kept_vectors(_Layers(encoder), base_requests(), cache, "base-layers")
        self._centre, self._basis = _evened(layers[: len(general_requests())])
        self.bases = self.of(layers)
        self.dimensions = self._basis.shape[1]
        self.identity = view_identity(encoder.identity, self.dimensions)

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions]."""
        return self.of(self._encoder.layers(texts))

    def of(self, layers: Vectors) -> Vectors:
        """Unit vectors of texts' layers, float32 [len(layers), dimensions]."""
        turned = (layers - self._centre) @ self._basis
        unit: Vectors = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
        return unit

    def windows(self, text: str) -> list[str]:
        """The text; of one too long to be read at once its parts, the most telling first."""
        return self._encoder.windows(text)

    def count(self, text: str) -> int:
        """Tokens of a text, as far as it is read."""
        return self._encoder.count(text)


def view_identity(encoder: str, dimensions: int = DIMENSIONS) -> str:
    """The identity of the view of an encoder, by the encoder's own."""
    return f"{encoder}-layers-{dimensions}-{EVENNESS}"


class _Layers:
    """An encoder's layers as if they were its vectors."""

    def __init__(self, encoder: LayeredEncoder) -> None:
        self.encode = encoder.layers
        self.dimensions = encoder.layer_dimensions
        self.identity = f"{encoder.identity}-layers"


def _evened(rows: Vectors) -> tuple[Vectors, Vectors]:
    """The centre of some rows, and their main directions, [dimensions, at most DIMENSIONS]."""
    exact = rows.astype(np.float64)
    centre = exact.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((exact - centre).T))
    main = slice(None, -DIMENSIONS - 1, -1)
    variances, directions = np.maximum(variances[main], 0), directions[:, main]
    # Which way a direction points is left open; that way or the other, all machines must agree.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    scale = (variances + FLOOR * variances.mean()) ** -EVENNESS
    return centre.astype(np.float32), (directions * signs * scale).astype(np.float32)


def routing_view(encoder: Encoder, cache: Path | None = None) -> Encoder:
    """What routing compares with an encoder: its layers where it shows them, else its vectors."""
    return View(encoder, cache) if isinstance(encoder, LayeredEncoder) else encoder


def base_vectors(encoder: Encoder, cache: Path | None) -> Vectors:
    """Unit vectors of `base_requests`, float32 [requests, dimensions], kept in `cache`."""
    if isinstance(encoder, View):
        # It has read them to become what it is.
        return encoder.bases
    return kept_vectors(encoder, base_requests(), cache, "general")
