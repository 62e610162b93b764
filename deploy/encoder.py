"""The router's encoder, computed by the engine's kernels where they can be had."""

import logging
from functools import partial
from pathlib import Path

from router.routing.bert import Network
from router.routing.encoder import MiniLM, torch_network
from specialists.engine.native.bert import NativeBert
from specialists.engine.native.compile import kernels
from specialists.errors import NoKernels

logger = logging.getLogger(__name__)


def open_encoder(threads: int) -> MiniLM:
    """all-MiniLM-L6-v2, each call on so many threads.

    Raises:
        EncoderError: its weights are missing or altered.
    """
    return MiniLM(network=partial(_network, threads=threads))


def _network(folder: Path, threads: int) -> Network:
    try:
        return NativeBert.from_folder(folder, kernels(), threads)
    except NoKernels as error:
        logger.warning("the encoder is computed by torch, which is slower: %s", error)
        return torch_network(folder, threads)
