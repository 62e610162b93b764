"""A look at rows before they are trained on: what they hold, what repeats, how long it may take."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch

from registry.effort import Effort
from registry.method import Method
from specialists.engine.text import Tokenizer
from specialists.training.data import Reading
from specialists.training.encoding import Example, examples_of
from specialists.training.lessons import Lesson
from specialists.training.packing import groups, length
from specialists.training.pairs import Pair
from specialists.training.recipe import Recipe, recipe_for

BOUNDS = (16, 32, 64, 128, 256, 512, 1024)
"""Of the histogram of lengths, in tokens; longer rows are a last bin."""
USED = 0.6
"""Of the products that a machine computes in a second, what a training makes of them."""
PASSES = 3
"""Of the network in a step: forward, and twice that back."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is found in a file.

    Attributes:
        rows: that can be used.
        problems: of the others, with their places.
        repeated: places of rows that stood there before, word for word.
        contradictions: places of rows whose request stood there before with another answer, and
            of pairs that stood there the other way round.
        leaked: places of rows that are among the validation rows too.
        too_long: places of rows that are left out, being longer than the recipe allows.
        tokens: of the whole rows.
        learnt: of these, those that are learnt.
        lengths: chats by the upper bound of their length, those of pairs one by one; None is
            beyond all.
        seconds: that training may take here, an estimate.
        recipe: by which.
    """

    rows: int
    problems: list[str]
    repeated: list[str]
    contradictions: list[str]
    leaked: list[str]
    too_long: list[str]
    tokens: int
    learnt: int
    lengths: dict[int | None, int]
    seconds: float
    recipe: Recipe


def inspect(
    reading: Reading[Lesson],
    tokenizer: Tokenizer,
    parameters: int,
    effort: Effort = "standard",
    validation: Sequence[Lesson] = (),
) -> Findings:
    """Look at a file's rows.

    Args:
        reading: the file's.
        tokenizer: of the base that is to be trained.
        parameters: of the base's linears, as many as it multiplies by for each token.
        effort: with how much of it they would be trained.
        validation: the rows that the result is to be judged by.
    """
    rows = reading.rows
    method: Method = "dpo" if rows and isinstance(rows[0][1], Pair) else "supervised"
    recipe = recipe_for(len(rows), effort, method=method)
    tried = [(place, examples_of(row, tokenizer, recipe.max_tokens)) for place, row in rows]
    examples = [example for _, found in tried for example in found]
    parts = [part for example in examples for part in example.parts]
    lengths = Counter(_bound(len(part.tokens)) for part in parts)
    held = set(validation)
    return Findings(
        rows=len(rows),
        problems=reading.problems,
        repeated=_repeated(rows),
        contradictions=_contradictions(rows),
        leaked=[place for place, row in rows if row in held],
        too_long=[place for place, found in tried if not found],
        tokens=sum(len(part.tokens) for part in parts),
        learnt=sum(sum(part.learnt) for part in parts),
        lengths={bound: lengths[bound] for bound in (*BOUNDS, None) if lengths[bound]},
        seconds=_seconds(examples, recipe, parameters),
        recipe=recipe,
    )


def pieces(example: Example, tokenizer: Tokenizer) -> Iterator[tuple[str, bool]]:
    """A row as text, cut where learning begins and ends."""
    pairs = zip(example.tokens, example.learnt, strict=True)
    for learnt, run in groupby(pairs, key=lambda pair: pair[1]):
        written = b"".join(tokenizer.token_text(token)[1] for token, _ in run)
        yield written.decode(errors="replace"), learnt


def _bound(length: int) -> int | None:
    return next((bound for bound in BOUNDS if length <= bound), None)


def _repeated(rows: Iterable[tuple[str, Lesson]]) -> list[str]:
    seen: set[Lesson] = set()
    found = []
    for place, row in rows:
        if row in seen:
            found.append(place)
        seen.add(row)
    return found


def _contradictions(rows: Iterable[tuple[str, Lesson]]) -> list[str]:
    known: dict[object, object] = {}
    found = []
    for place, row in rows:
        subject, said = row.claim
        if known.setdefault(subject, said) != said:
            found.append(place)
    return found


def _seconds(examples: Sequence[Example], recipe: Recipe, parameters: int) -> float:
    """From how many products the packed rows take, and how fast this machine multiplies."""
    size = recipe.batch_size
    batches = (examples[at : at + size] for at in range(0, len(examples), size))
    read = sum(length(group) for batch in batches for group in groups(batch))
    return recipe.epochs * read * 2 * PASSES * parameters / (USED * _products_per_second())


def _products_per_second() -> float:
    """Floating-point operations a second, in products of a size that training has."""
    left, right = torch.ones(256, 1024), torch.ones(1024, 1024)
    moments = [time.perf_counter()]
    for _ in range(8):
        left @ right
        moments.append(time.perf_counter())
    fastest = min(after - before for before, after in pairwise(moments))
    return 2 * left.numel() * right.shape[1] / fastest
