"""Log probabilities of an answer's tokens, packed: of a long answer there may be a million."""

import math
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

UNKNOWN = math.nan
"""Of a text's first token, before which there is nothing to go by."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's text, UTF-8 bytes and natural log probability, with the likeliest beside it."""

    token: str
    logprob: float
    bytes: bytes
    top: tuple["TokenLogprob", ...] = ()


def packed(token: TokenLogprob) -> bytes:
    """A token in a fifth of the memory; both sides of a pipe are ours, which read it again."""
    top = [(each.token, each.logprob, each.bytes) for each in token.top]
    return pickle.dumps((token.token, token.logprob, token.bytes, top), pickle.HIGHEST_PROTOCOL)


def unpacked(tokens: Iterable[bytes]) -> Iterator[TokenLogprob]:
    """The same tokens, one after the other."""
    for each in tokens:
        token, logprob, raw, top = pickle.loads(each)  # noqa: S301 - `packed` made it
        yield TokenLogprob(token, logprob, raw, tuple(TokenLogprob(*other) for other in top))
