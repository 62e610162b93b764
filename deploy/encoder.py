"""The router's encoder, computed by the engine's kernels where they can be had."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import InvalidSetting, StartFailed
from router.routing.encoder import SentenceEncoder
from router.routing.encoder_folder import EncoderError, EncoderFolder
from router.routing.encoder_network import Network, TorchEncoder
from specialists.engine.native.bert import NativeBert
from specialists.engine.native.compile import kernels
from specialists.errors import NoKernels

logger = logging.getLogger(__name__)


def open_encoder(threads: int, path: Path | None = None) -> SentenceEncoder:
    """The encoder in a folder, or all-MiniLM-L6-v2; each call on so many threads.

    Raises:
        InvalidSetting: the folder has none that can be read.
        StartFailed: the packaged one's weights are missing or altered.
    """
    folder = encoder_folder(path)
    with _mendable(path):
        return SentenceEncoder(folder, _network(folder.path, threads))


def encoder_folder(path: Path | None) -> EncoderFolder:
    """Where the encoder lies.

    Raises:
        InvalidSetting: the folder has none that can be read.
        StartFailed: the packaged one's weights are missing or altered.
    """
    with _mendable(path):
        return EncoderFolder.packaged() if path is None else EncoderFolder.read(path)


@contextmanager
def _mendable(path: Path | None) -> Iterator[None]:
    """Say of what is wrong which setting asked for it."""
    try:
        yield
    except EncoderError as error:
        if path is None:
            raise StartFailed(str(error)) from error
        raise InvalidSetting(f"MYRIAD_ROUTER__ENCODER cannot be used: {error}") from error


def _network(folder: Path, threads: int) -> Network:
    try:
        return NativeBert.from_folder(folder, kernels(), threads)
    except NoKernels as error:
        logger.warning("the encoder is computed by torch, which is slower: %s", error)
        return TorchEncoder(folder, threads)
