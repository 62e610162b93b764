"""Requests that need no specialist: the base's own examples, by which it competes for answers."""

import hashlib
import logging
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

from router.encoder import Encoder, Vectors

logger = logging.getLogger(__name__)


def general_requests() -> list[str]:
    """The requests that ship with the router, one per line of general.txt."""
    return resources.files("router").joinpath("general.txt").read_text("utf-8").splitlines()


def general_vectors(encoder: Encoder, cache: Path | None = None) -> Vectors:
    """Unit vectors of the general requests, float32 [requests, dimensions].

    Args:
        encoder: Reads the requests; it takes seconds.
        cache: Folder that keeps the vectors for the next start; None keeps nothing. One that
            cannot be read or written costs the encoding, nothing else.
    """
    texts = general_requests()
    if cache is None:
        return encoder.encode(texts)
    file = cache / f"general-{_key(encoder, texts)}.npy"
    kept = _read(file, (len(texts), encoder.dimensions))
    if kept is not None:
        return kept
    vectors = encoder.encode(texts)
    _write(file, vectors)
    return vectors


def _key(encoder: Encoder, texts: list[str]) -> str:
    return hashlib.sha256("\n".join([encoder.identity, *texts]).encode()).hexdigest()[:16]


def _read(file: Path, shape: tuple[int, int]) -> Vectors | None:
    """The vectors in `file`; None unless they are unit rows of this shape."""
    if not file.exists():
        return None
    try:
        with file.open("rb") as opened:
            vectors: Vectors = np.load(opened, allow_pickle=False)
        if vectors.shape == shape and vectors.dtype == np.float32 and _unit(vectors):
            return vectors
        logger.warning("%s does not hold the vectors of its name, encoding anew", file)
    except Exception as error:  # a damaged file fails in as many ways as there are damages
        logger.warning("%s cannot be read, encoding anew: %r", file, error)
    return None


def _unit(vectors: Vectors) -> bool:
    return bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3))


def _write(file: Path, vectors: Vectors) -> None:
    """Write `file` whole or not at all: other replicas may be reading or writing it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".general-", dir=file.parent) as folder:
            part = Path(folder) / file.name
            np.save(part, vectors, allow_pickle=False)
            part.replace(file)
    except OSError as error:
        logger.warning("%s cannot be written, the next start encodes anew: %s", file, error)
