"""Rows side by side in one sequence, where what all of them begin with stands once.

The chat template begins every row of a task with the same tokens, often half of them. Here they
are computed once per step, as the trunk of a tree whose branches are the rows: a token sees the
trunk and what goes before it in its own row. Loss and gradients are those of padded rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from specialists.training.encoding import Example

TOGETHER = 1024
"""Tokens in one sequence: attention grows with their square."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows, as a network reads them.

    Attributes:
        tokens: [1, T].
        positions: [1, T], each token's place in its row.
        mask: [1, 1, T, T], whether a token (third dimension) sees another (fourth).
        sources: [N], where each learnt token is predicted: at the token before it.
        targets: [N], the learnt tokens.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor


def groups(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """All examples, in as few groups of about `TOGETHER` tokens as their order allows."""
    group: list[Example] = []
    for example in examples:
        if group and length([*group, example]) > TOGETHER:
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def pack(examples: Sequence[Example]) -> Packed:
    """Examples, part by part, in one sequence: what they share, then the rest of each."""
    parts = _parts(examples)
    shared = _shared(parts)
    tokens = parts[0].tokens[:shared]
    positions, branches = list(range(shared)), [0] * shared
    sources: list[int] = []
    targets: list[int] = []
    for branch, part in enumerate(parts, 1):
        before = len(tokens) - shared
        for at, learnt in enumerate(part.learnt[1:], 1):
            if learnt:
                sources.append(at - 1 if at - 1 < shared else before + at - 1)
                targets.append(part.tokens[at])
        rest = part.tokens[shared:]
        tokens += rest
        positions += range(shared, shared + len(rest))
        branches += [branch] * len(rest)
    return Packed(
        tokens=torch.tensor([tokens]),
        positions=torch.tensor([positions]),
        mask=_mask(torch.tensor(branches)),
        sources=torch.tensor(sources),
        targets=torch.tensor(targets),
    )


def _mask(branches: torch.Tensor) -> torch.Tensor:
    same = branches[:, None] == branches[None, :]
    trunk = branches[None, :] == 0
    return (same | trunk).tril()[None, None]


def _parts(examples: Sequence[Example]) -> list[Example]:
    return [part for example in examples for part in example.parts]


def _shared(parts: Sequence[Example]) -> int:
    """How many first tokens all have in common."""
    columns = zip(*(part.tokens for part in parts), strict=False)
    return next(
        (at for at, column in enumerate(columns) if len(set(column)) > 1),
        min(len(part.tokens) for part in parts),
    )


def length(examples: Sequence[Example]) -> int:
    """Tokens of examples in one sequence."""
    parts = _parts(examples)
    shared = _shared(parts)
    return shared + sum(len(part.tokens) - shared for part in parts)
