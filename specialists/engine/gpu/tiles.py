"""Tokens of a batch, cut into as few as a program computes together."""

from collections.abc import Iterator

TILE = 16
"""Tokens of a tile at most, and the least rows of a product that tensor cores take."""


def cut(start: int, count: int) -> Iterator[tuple[int, int]]:
    """The first token, and the tokens, of each tile of so many consecutive ones."""
    for at in range(start, start + count, TILE):
        yield at, min(TILE, start + count - at)
