"""Probes on disk, one file per version: a start reads them, and fits only what changed since."""

import logging
from pathlib import Path

import numpy as np

from router.routing.encoder import Encoder
from router.routing.general import base_requests
from router.routing.probe import GAIN, PENALTY, POSITIVE_WEIGHT, STEPS, Probe
from router.routing.vectors import name_of, write_whole

logger = logging.getLogger(__name__)

HASH_BYTES = 32


class ProbeStore:
    """The probe that was fitted last for each version, by digest."""

    def __init__(self, folder: Path | None, dimensions: int) -> None:
        """Keep probes of so many dimensions in a folder; None keeps nothing."""
        self._folder = folder
        self._bytes = HASH_BYTES + 4 * (dimensions + 1)

    def read(self, digest: str, against: str) -> Probe | None:
        """A version's probe, if it was fitted against just this."""
        if self._folder is None:
            return None
        file = _file(self._folder, digest)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("%s cannot be read, fitting anew: %s", file, error)
            return None
        if len(content) != self._bytes or content[:HASH_BYTES].hex() != against:
            return None
        numbers = np.frombuffer(content, dtype="<f4", offset=HASH_BYTES)
        if np.isnan(numbers).any():
            return None
        return Probe(numbers[1:].astype(np.float32), float(numbers[0]), digest, against)

    def write(self, probe: Probe) -> None:
        """Keep a probe in the place of the version's last one, whole or not at all."""
        if self._folder is None:
            return
        file = _file(self._folder, probe.digest)
        numbers = np.concatenate([[probe.bias], probe.weights]).astype("<f4")
        try:
            write_whole(file, bytes.fromhex(probe.against) + numbers.tobytes())
        except OSError as error:
            logger.warning("%s cannot be written, the next start fits anew: %s", file, error)


def probe_store(encoder: Encoder, cache: Path | None) -> ProbeStore:
    """What is kept below `cache` of probes that are fitted alike, on this encoder's vectors."""
    fitted = (PENALTY, POSITIVE_WEIGHT, STEPS, GAIN)
    key = name_of(encoder.identity, *base_requests(), *map(str, fitted))
    return ProbeStore(cache / f"probes-{key}" if cache else None, encoder.dimensions)


def _file(folder: Path, digest: str) -> Path:
    content = digest.removeprefix("sha256:")
    return folder / content[:2] / f"{content}.probe"
