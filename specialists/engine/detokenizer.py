"""An answer's tokens as text, one after the other: each costs the same, whatever came before."""

import codecs
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

REPLACED = "\ufffd"
"""What stands for bytes that are no character, or none yet."""
CHARACTER_BYTES = 4
"""UTF-8 takes no more for one."""


class Detokenizer(Protocol):
    """Takes tokens, gives text as soon as no further token can change it."""

    def push(self, token: int) -> str:
        """Text that became certain with this token."""

    def rest(self) -> str:
        """What was held back, once no more tokens come."""


class BytesDetokenizer:
    """Of tokens that are bytes."""

    def __init__(self, raw: Callable[[int], bytes]) -> None:
        """Take what says which bytes a token is; those that are not shown are none."""
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """See `Detokenizer.push`."""
        return self._decoder.decode(self._raw(token))

    def rest(self) -> str:
        """See `Detokenizer.rest`."""
        return self._decoder.decode(b"", final=True)


class PiecesDetokenizer:
    """Of tokens that are pieces of text, some of them single bytes, as SentencePiece has them.

    New ones are decoded behind those of the text before them, which says how they are written, such
    as whether a space begins them.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], unshown: Collection[int]) -> None:
        """Take what decodes some tokens together, and those that are never shown."""
        self._decode = decode
        self._unshown = unshown
        self._before: list[int] = []
        self._new: list[int] = []

    def push(self, token: int) -> str:
        """See `Detokenizer.push`."""
        if token in self._unshown:
            return ""
        self._new.append(token)
        text = self._text()
        # A character that is not complete after so many bytes never will be.
        if text.endswith(REPLACED) and len(self._new) < CHARACTER_BYTES:
            return ""
        self._before, self._new = self._new, []
        return text

    def rest(self) -> str:
        """See `Detokenizer.rest`."""
        return self._text() if self._new else ""

    def _text(self) -> str:
        return self._decode([*self._before, *self._new])[len(self._decode(self._before)) :]
