"""What an answer may go on with, by what was said before."""

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import product
from typing import NamedTuple

from specialists.engine.means import Mean

CONTEXTS = (3, 2, 1)
"""Tokens before a guess by which it is found: the more of them are known, the surer it is."""
LONGEST = CONTEXTS[0]
STREAK = 3
"""Times in a row, that a guess came true, that are told apart."""
ASSUMED, FORETOLD, WEIGHT = 0.5, 0.9, 4.0
"""Of guesses that come true, of those that somebody foretold, and as how many such that counts,
before any was looked at."""
REMEMBERED = 1 << 13
"""Contexts: some 250 bytes each."""


class Guess(NamedTuple):
    """What may come next, and how many times in a row it did."""

    token: int
    streak: int = 0

    def then(self, token: int) -> "Guess":
        """What to guess after this came: what came often is not forgotten at once."""
        if token == self.token:
            return Guess(token, min(self.streak + 1, STREAK))
        return Guess(self.token) if self.streak > 1 else Guess(token)


class Habits:
    """Which token followed which, by the contexts that came last, and how far that is to go by."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], Guess] = {}
        kinds = product(CONTEXTS, range(STREAK + 1))
        self._shares = {kind: Mean(ASSUMED, WEIGHT) for kind in kinds}

    def __len__(self) -> int:
        """How many contexts are known."""
        return len(self._next)

    def learn(self, tokens: Sequence[int], span: range, answer: int) -> None:
        """Note what the tokens of a span came after, and whether they would be guessed.

        Only from `answer` on: before that it is somebody else who speaks.
        """
        for at in span:
            before = tokens[max(at - LONGEST, 0) : at]
            if at >= answer and (found := self._found(before)) is not None:
                share, guess = found
                share.add(guess.token == tokens[at])
            for context in _contexts(before):
                known = self._next.pop(context, None)
                self._next[context] = known.then(tokens[at]) if known else Guess(tokens[at])
        while len(self._next) > REMEMBERED:
            del self._next[next(iter(self._next))]

    def after(self, tokens: Sequence[int]) -> tuple[int, float] | None:
        """What may come after these, and how likely it is; None if nothing like them is known."""
        found = self._found(tokens)
        return found and (found[1].token, found[0].value)

    def _found(self, tokens: Sequence[int]) -> tuple[Mean, Guess] | None:
        for context in _contexts(tokens):
            guess = self._next.get(context)
            if guess is not None:
                return self._shares[len(context), guess.streak], guess
        return None


class Expected:
    """An answer as somebody foretold it, and how far it has come."""

    def __init__(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Take the tokens of what is asked, and of the answer."""
        self._told = told = [*prompt[-LONGEST:], *answer]
        before = zip(*(told[at:] for at in range(LONGEST)), strict=False)
        self._places = dict(zip(before, range(LONGEST, len(told)), strict=False))
        self._place = len(told) - len(answer)
        self._share = Mean(FORETOLD, WEIGHT)
        self.answer = len(answer)
        """Its tokens."""
        self.came: int | None = None
        """Tokens that were as foretold, once any was looked at."""

    def copy(self) -> "Expected":
        """The same for another answer that has not begun."""
        other = copy(self)
        other._share = Mean(FORETOLD, WEIGHT)
        return other

    def learn(self, tokens: Sequence[int]) -> None:
        """Note whether the last token of the answer is as it was foretold."""
        place = self._found(tokens[-1 - LONGEST : -1], self._place)
        self.came = self.came or 0
        if place is not None:
            came = self._told[place] == tokens[-1]
            self.came += came
            self._share.add(came)
            self._place = place + 1

    def after(self, tokens: Sequence[int], ahead: int) -> tuple[int, float] | None:
        """What may come after tokens that are so far ahead of the answer, and how likely it is.

        None where they are not of it.
        """
        place = self._found(tokens, self._place + ahead)
        return None if place is None else (self._told[place], self._share.value)

    def _found(self, before: Sequence[int], place: int) -> int | None:
        """Where it goes on after some tokens: at a place, if they stand before it, or elsewhere."""
        if LONGEST <= place < len(self._told) and self._told[place - LONGEST : place] == before:
            return place
        return self._places.get(tuple(before))


def _contexts(tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The last tokens, longest first."""
    for length in CONTEXTS:
        if length <= len(tokens):
            yield tuple(tokens[-length:])
