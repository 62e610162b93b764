"""The router's encoder, computed by the engine's kernels where they can be had."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from deploy.errors import InvalidSetting, StartFailed
from router.routing.encoder import SentenceEncoder
from router.routing.encoder_folder import (
    CONFIG,
    LENGTHS,
    PARTS,
    POOLING,
    TOKENIZER,
    WEIGHTS,
    EncoderError,
    EncoderFolder,
)
from router.routing.encoder_network import Network, TorchEncoder
from specialists import hub
from specialists.engine.native.bert import NativeBert
from specialists.engine.native.compile import kernels
from specialists.errors import HubUnavailable, NoKernels
from specialists.progress import Progress, silent

FILES = (CONFIG, TOKENIZER, WEIGHTS, POOLING, PARTS, LENGTHS)

logger = logging.getLogger(__name__)


def open_encoder(threads: int, source: str | None = None) -> SentenceEncoder:
    """The encoder in a folder or of a hub, or all-MiniLM-L6-v2; each call on so many threads.

    Raises:
        InvalidSetting: there is none that can be read.
        StartFailed: the packaged one's weights are missing or altered.
    """
    folder = encoder_folder(source)
    with _mendable(source):
        adapted = _network(folder.path, threads, folder.adapter)
        plain = partial(_network, folder.path, threads) if folder.adapter else None
        return SentenceEncoder(folder, adapted, plain)


def encoder_folder(source: str | None, progress: Progress = silent) -> EncoderFolder:
    """Where the encoder lies; one of a hub is fetched, once.

    Raises:
        InvalidSetting: there is none that can be read.
        StartFailed: the packaged one's weights are missing or altered.
    """
    with _mendable(source):
        if source is None:
            return EncoderFolder.packaged()
        if not hub.is_of_hub(source):
            return EncoderFolder.read(Path(source))
        return fetched_encoder(source) or _of_hub(source, hub.fetch(source, FILES, progress))


def fetched_encoder(source: str) -> EncoderFolder | None:
    """The encoder of a hub that is here already; nothing is asked of the hub."""
    held = hub.kept(source, FILES)
    if held is None or not (held / WEIGHTS).is_file():
        return None
    return _of_hub(source, held)


def _of_hub(source: str, folder: Path) -> EncoderFolder:
    return replace(EncoderFolder.read(folder), name=hub.name_of(source))


@contextmanager
def _mendable(source: str | None) -> Iterator[None]:
    """Say of what is wrong which setting asked for it."""
    try:
        yield
    except (EncoderError, HubUnavailable) as error:
        if source is None:
            raise StartFailed(str(error)) from error
        raise InvalidSetting(f"MYRIAD_ROUTER__ENCODER cannot be used: {error}") from error


def _network(folder: Path, threads: int, adapter: Path | None = None) -> Network:
    try:
        return NativeBert.from_folder(folder, kernels(), threads, adapter)
    except NoKernels as error:
        logger.warning("the encoder is computed by torch, which is slower: %s", error)
        return TorchEncoder(folder, threads, adapter)
