"""Rows side by side in one sequence, where what several of them begin with stands once.

The chat template begins every row of a task with the same tokens, often half of them, and many go
on alike. Here they are the paths of a tree from its root: a token sees those above it, and is
computed once for all rows that share it. What comes after the last prediction is not computed at
all. Loss and gradients are those of padded rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from specialists.training.encoding import Example

TOGETHER = 1024
"""Tokens in one sequence: attention grows with their square."""
ROOT = -1


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows, as a network reads them.

    Attributes:
        tokens: [1, T].
        positions: [1, T], each token's place in its rows.
        mask: [1, 1, T, T], whether a token (third dimension) sees another (fourth).
        sources: [N], where each learnt token is predicted: at the token before it.
        targets: [N], the learnt tokens.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor


class _Tree:
    """Tokens by what goes before them."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._above: list[int] = []
        self._known: dict[tuple[int, int], int] = {}

    def path(self, tokens: Iterable[int]) -> list[int]:
        """Where each of a row's tokens stands; those that no row had yet are added."""
        found: list[int] = []
        node = ROOT
        for position, token in enumerate(tokens):
            below = self._known.get((node, token))
            if below is None:
                below = self._known[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.positions.append(position)
                self._above.append(node)
            node = below
            found.append(node)
        return found

    def mask(self) -> torch.Tensor:
        """Whether a token (first dimension) is another (second), or stands below it: [T, T]."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        # Those above were added before.
        for node, above in enumerate(self._above):
            if above != ROOT:
                seen[node] |= seen[above]
        return seen


def groups(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """All examples, in as few groups of about `TOGETHER` tokens as their order allows."""
    group: list[Example] = []
    tree = _Tree()
    for example in examples:
        _add(tree, example)
        if group and len(tree.tokens) > TOGETHER:
            yield group
            group, tree = [], _Tree()
            _add(tree, example)
        group.append(example)
    if group:
        yield group


def pack(examples: Sequence[Example], device: torch.device | None = None) -> Packed:
    """Examples, part by part, in one sequence; on the CPU unless a device is given."""
    tree = _Tree()
    sources: list[int] = []
    targets: list[int] = []
    for part in (part for example in examples for part in example.parts):
        path = tree.path(_read(part))
        for at, learnt in enumerate(part.learnt[1:], 1):
            if learnt:
                sources.append(path[at - 1])
                targets.append(part.tokens[at])
    return Packed(
        tokens=torch.tensor([tree.tokens], device=device),
        positions=torch.tensor([tree.positions], device=device),
        mask=tree.mask()[None, None].to(device),
        sources=torch.tensor(sources, device=device),
        targets=torch.tensor(targets, device=device),
    )


def length(examples: Sequence[Example]) -> int:
    """Tokens of examples in one sequence."""
    tree = _Tree()
    for example in examples:
        _add(tree, example)
    return len(tree.tokens)


def _add(tree: _Tree, example: Example) -> None:
    for part in example.parts:
        tree.path(_read(part))


def _read(part: Example) -> list[int]:
    """The tokens by which others are predicted: those before the last learnt one."""
    last = max((at for at, learnt in enumerate(part.learnt) if learnt), default=0)
    return part.tokens[:last]
