"""Example vectors, made once per version and kept on disk: a start reads them, and encodes none."""

import hashlib
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from router.routing.compact import PEAK, Compact
from router.routing.copies import distinct
from router.routing.encoder import Encoder, Reader, Vectors

logger = logging.getLogger(__name__)
Number = TypeVar("Number", bound=np.generic)

CACHED_TEXTS = 5_000
CHECKED_ROWS = 16


class VectorStore:
    """An encoder's vectors of versions' examples, by digest. For one thread at a time."""

    def __init__(self, encoder: Encoder, cache: Path | None) -> None:
        """Keep vectors in a folder of this encoder's below `cache`; None keeps nothing."""
        self._texts = TextVectors(encoder, CACHED_TEXTS)
        self._dimensions = encoder.dimensions
        self._folder = cache / f"examples-{name_of(encoder.identity)}" if cache else None

    def of_version(self, digest: str, examples: Callable[[], list[str]]) -> Compact:
        """Vectors of a version's distinct examples, at least one.

        Args:
            digest: the version's.
            examples: gives its texts; asked only when their vectors are not kept yet.
        """
        if self._folder is None:
            return self._encode(examples())
        content = digest.removeprefix("sha256:")
        file = self._folder / content[:2] / f"{content}.npy"
        kept = _read(file, np.int8, self._dimensions, _peaks)
        if kept is not None:
            return Compact.held(kept)
        made = self._encode(examples())
        _write(file, made.values)
        return made

    def _encode(self, texts: list[str]) -> Compact:
        return Compact.of(distinct(self._texts.encode(texts)))


class Latest:
    """The vectors of the `size` texts asked for last. For one thread at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def get(self, text: str) -> Vectors | None:
        """A text's vector; None if it is not known, or no longer."""
        if text not in self._vectors:
            return None
        self._vectors.move_to_end(text)
        return self._vectors[text]

    def keep(self, found: Mapping[str, Vectors]) -> None:
        """Know these too, and forget what was asked for longest ago."""
        self._vectors.update(found)
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)


class TextVectors:
    """An encoder's vectors for the `size` texts asked for last. For one thread at a time."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder = encoder
        self._latest = Latest(size)

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions], encoding only what is new."""
        asked = {text: self._latest.get(text) for text in texts}
        known = {text: vector for text, vector in asked.items() if vector is not None}
        new = [text for text in asked if text not in known]
        if new:
            known.update(zip(new, self._encoder.encode(new), strict=True))
        self._latest.keep({text: known[text] for text in new})
        return np.stack([known[text] for text in texts])


def kept_vectors(encoder: Reader, texts: list[str], cache: Path | None, name: str) -> Vectors:
    """Unit vectors of fixed texts, float32 [texts, dimensions], encoded at the first start only.

    Args:
        encoder: Reads the texts.
        texts: What is encoded.
        cache: Folder that keeps the vectors for the next start; None keeps nothing. One that
            cannot be read or written costs the encoding, nothing else.
        name: Begins the file's name.
    """
    if cache is None:
        return encoder.encode(texts)
    file = cache / f"{name}-{name_of(encoder.identity, *texts)}.npy"
    kept = _read(
        file, np.float32, encoder.dimensions, lambda rows: len(rows) == len(texts) and _unit(rows)
    )
    if kept is None:
        kept = encoder.encode(texts)
        _write(file, kept)
    return kept


def _read(
    file: Path, dtype: type[Number], dimensions: int, whole: Callable[[NDArray[Number]], bool]
) -> NDArray[Number] | None:
    """The rows in `file`; None unless they are of this sort and, by a look at some, whole."""
    try:
        with file.open("rb") as opened:
            rows: NDArray[Number] = np.load(opened, allow_pickle=False)
        fits = rows.dtype == dtype and rows.ndim == 2 and rows.shape[1] == dimensions
        if fits and len(rows) and whole(rows):
            return rows
        logger.warning("%s does not hold the vectors of its name, encoding anew", file)
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged file fails in as many ways as there are damages
        logger.warning("%s cannot be read, encoding anew: %r", file, error)
    return None


def _write(file: Path, rows: NDArray[Any]) -> None:
    """Write `file`, which costs the next start the encoding if it fails."""
    content = BytesIO()
    np.save(content, rows, allow_pickle=False)
    try:
        write_whole(file, content.getvalue())
    except OSError as error:
        logger.warning("%s cannot be written, the next start encodes anew: %s", file, error)


def write_whole(file: Path, content: bytes) -> None:
    """Write `file` whole or not at all: other replicas may be reading or writing it.

    Raises:
        OSError: it cannot be written.
    """
    # Closed to others: what a text said can be guessed from its vector.
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".part-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        Path(part).replace(file)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _unit(rows: Vectors) -> bool:
    some = _some(rows)
    return bool((abs(np.einsum("ij,ij->i", some, some) - 1) < 4e-3).all())


def _peaks(rows: NDArray[np.int8]) -> bool:
    return bool((np.abs(_some(rows).astype(np.int16)).max(axis=1) == PEAK).all())


def _some(rows: NDArray[Number]) -> NDArray[Number]:
    return rows[:: max(len(rows) // CHECKED_ROWS, 1)]


def name_of(*parts: str) -> str:
    """A short name that other parts do not have."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
