"""Texts to unit vectors: what routing asks of an encoder, and sentence encoders."""

from collections.abc import Callable
from functools import cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder_folder import TOKENIZER, EncoderFolder
from router.routing.encoder_network import Network

Vectors = NDArray[np.float32]

MARKS = 2
"""Tokens of these that mark a text's beginning and its end."""
REQUEST_TOKENS = 64
"""Of a paragraph at either end of a long text, where what is wanted of it mostly stands."""
MAX_CHARACTERS = 4000
"""Of a text's beginning, or of its end; to tokenise the rest would only take time."""


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


class SentenceEncoder:
    """Mean pooling over a text's first tokens, then L2 norm.

    Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084.
    """

    def __init__(
        self, folder: EncoderFolder, network: Network, plain: Callable[[], Network] | None = None
    ) -> None:
        """Read a folder's tokenizer.

        Args:
            folder: where it is.
            network: has the encoder's weights, and what its adapter learnt.
            plain: opens the one without its adapter, when somebody asks for its vectors; None if
                the encoder has none.
        """
        from tokenizers import Tokenizer

        self.name, self.identity = folder.name, folder.identity
        self.dimensions = network.dimensions
        self.layer_dimensions = 3 * network.dimensions
        self._most = folder.max_tokens
        self._whole = Tokenizer.from_file(str(folder.path / TOKENIZER))
        self._whole.no_truncation()
        self._whole.no_padding()
        self._tokenizer = Tokenizer.from_str(self._whole.to_str())
        self._tokenizer.enable_truncation(self._most)
        self._network = network
        self._plain = cache(plain or (lambda: network))

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors as the encoder was released, float32 [len(texts), dimensions]."""
        return self._encode(self._plain(), texts, (self._network.layers,))

    def layers(self, texts: list[str]) -> Vectors:
        """The embeddings' and the last two layers', float32 [len(texts), layer_dimensions]."""
        last = self._network.layers
        return self._encode(self._network, texts, (0, last - 1, last))

    def _encode(self, network: Network, texts: list[str], layers: tuple[int, ...]) -> Vectors:
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        means = network.means(rows, layers)
        unit = means / np.linalg.norm(means, axis=2, keepdims=True) / len(layers) ** 0.5
        vectors: Vectors = unit.reshape(len(texts), len(layers) * self.dimensions)
        return vectors

    def windows(self, text: str) -> list[str]:
        """The text, or its last and its first paragraph and its beginning if it is too long.

        Of a paragraph at most the 64 tokens that are nearest to the text's end or beginning count.
        """
        if len(text) <= self._most - MARKS:
            return [text]
        head, tail = text[:MAX_CHARACTERS], text[-MAX_CHARACTERS:]
        if head == text and len(self._spans(text)) <= self._most - MARKS:
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
        """Tokens of a text, as far as it is read."""
        return len(self._tokenizer.encode(text).ids)
