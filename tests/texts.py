"""Streams of text for tests."""

from collections.abc import Iterable, Sequence

from specialists.engine.text_stream import TextStream


def all_of(stream: TextStream, tokens: Iterable[int]) -> tuple[str, str]:
    """The thoughts and the answer that tokens say, up to what ends the answer."""
    pieces = []
    for token in tokens:
        pieces.append(stream.push(token))
        if stream.stopped_by is not None:
            break
    thoughts, texts = zip(*pieces, stream.flush(), strict=True)
    return "".join(thoughts), "".join(texts)


class Parts:
    """A detokenizer of numbers of texts."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = parts

    def push(self, token: int) -> str:
        return self._parts[token]

    def rest(self) -> str:
        return ""
