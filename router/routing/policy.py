"""The rule by which `auto` finds a specialist."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from router.routing.chores import is_chore
from router.routing.copies import Found, without_copies
from router.routing.decision import Candidate, Decision, base_answers
from router.routing.duel import RIVALS, decided, votes
from router.routing.encoder import Encoder, Vectors
from router.routing.index import NEIGHBOURS, score
from router.routing.odds import against_base, log_odds, probabilities
from router.routing.snapshot import Snapshot

ECHO_WORDS = 2
"""A turn of so few words, such as "ok" or "yes please", asks for nothing of its own."""
FOLLOW_UP_WORDS = 12
"""A turn of so few words may lean on one before it."""
TURNS_BACK = 3
POOL = 32
"""Specialists whose examples are nearest, among which the probes decide."""
SURE = 8.0
"""Log-odds by which one must be ahead of others not to be compared with them once more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The likeliest specialists for a text, best first, and the best one's odds.

    Attributes:
        candidates: what is likeliest, each with its probability.
        fit: the best one's probability beside the base alone, from 0 to 1.
        base: the probability that no specialist is meant.
    """

    candidates: tuple[Candidate, ...]
    fit: float
    base: float


@dataclass(frozen=True, slots=True)
class Policy:
    """The likeliest specialist answers, unless the base is likelier by more than a little.

    The specialists whose examples lie nearest are found first (`index.py`); among them the probes
    decide (`probe.py`), `odds.py` turns both into probabilities, and the likeliest few are compared
    once more among themselves (`duel.py`). The base competes by general
    requests of its own, which every probe was told its own requests from.

    Attributes:
        threshold: Probability, beside the base alone, that a specialist must reach.
        candidates: How many specialists a decision lists.
    """

    threshold: float = 0.38
    candidates: int = 5

    def decide(self, snapshot: Snapshot, encoder: Encoder, turns: Sequence[str]) -> Decision:
        """Choose by the user's `turns` (oldest first), the last one before all others."""
        if not turns or not turns[-1].strip():
            return base_answers("There is no user message to route by.", snapshot.generation)
        if is_chore(turns[-1]):
            return base_answers("A chat interface asks this on its own.", snapshot.generation)
        if not len(snapshot):
            return base_answers("No specialist is registered.", snapshot.generation)
        compared = (
            (what, self._compare_long(snapshot, encoder, text)) for what, text in _readings(turns)
        )
        first = next(compared)
        for what, found in chain([first], compared):
            if self._fits(found):
                return self._decision(snapshot, what, found)
        return self._decision(snapshot, *first)

    def _fits(self, found: Comparison) -> bool:
        return found.fit >= self.threshold

    def _decision(self, snapshot: Snapshot, what: str, found: Comparison) -> Decision:
        best = found.candidates[0]
        likely = f"{best.specialist} {best.score:.2f}, the base {found.base:.2f}."
        reason = f"{what} is like its examples: {likely}"
        decision = Decision(
            best.specialist,
            best.version,
            best.digest,
            best.score,
            reason,
            found.candidates,
            snapshot.generation,
            fit=found.fit,
        )
        if self._fits(found):
            return decision
        reason = f"No specialist is likely enough: {likely}"
        return replace(decision, specialist=None, version=None, digest=None, reason=reason)

    def _compare_long(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        """By the first part of a long text that fits a specialist; by all of it if none does."""
        for window in encoder.windows(text):
            found = self._compare(snapshot, encoder, window)
            if self._fits(found):
                break
        return found

    def _compare(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        vector = encoder.encode([text])[0]
        general = score(snapshot.general, vector)
        nearest = snapshot.nearest(vector, POOL, general)
        found = without_copies(nearest, vector, general)
        odds = sorted(
            ((_odds(snapshot, each, vector, general), each) for each in found), key=_likeliest_first
        )
        odds = _after_duel(odds, vector)
        likely = probabilities([each for each, _ in odds])
        some = list(zip(odds, likely, strict=True))[: self.candidates]
        candidates = tuple(_candidate(each, probability) for (_, each), probability in some)
        return Comparison(candidates, against_base(odds[0][0]), 1 - sum(likely))


def _odds(snapshot: Snapshot, found: Found, vector: Vectors, general: float) -> float:
    return log_odds(snapshot.probe(found.route), vector, found.near, general, len(found.rows))


def _likeliest_first(pair: tuple[float, Found]) -> tuple[float, str]:
    return -pair[0], pair[1].route.specialist


def _after_duel(odds: list[tuple[float, Found]], vector: Vectors) -> list[tuple[float, Found]]:
    """The odds, best first, after the likeliest few were compared among themselves."""
    rivals = [each for each in odds[:RIVALS] if each[0] > odds[0][0] - SURE]
    if len(rivals) < 2:
        return odds
    rows = [found.rows.astype(np.float32, copy=False) for _, found in rivals]
    evidence = np.array([min(len(each), NEIGHBOURS) / NEIGHBOURS for each in rows])
    moved = decided([each for each, _ in rivals], votes(vector, rows), evidence)
    after = [(each, found) for each, (_, found) in zip(moved, rivals, strict=True)]
    return sorted([*after, *odds[len(rivals) :]], key=_likeliest_first)


def _candidate(found: Found, probability: float) -> Candidate:
    route = found.route
    return Candidate(route.specialist, route.version, route.digest, round(probability, 4))


def _readings(turns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Texts to decide by, the first that fits a specialist wins; each with what it is.

    An echo stays with whoever answered what it echoes.
    """
    asked = len(turns) - 1
    while asked > 0 and _words(turns[asked]) <= ECHO_WORDS:
        asked -= 1
    echoed = asked < len(turns) - 1
    if echoed:
        # It may be a request all the same, in few words.
        yield "The last message", turns[-1]
    what = "The message that the last one follows up on" if echoed else "The last message"
    yield what, turns[asked]
    if _words(turns[asked]) <= FOLLOW_UP_WORDS:
        for before in reversed(turns[max(asked - TURNS_BACK, 0) : asked]):
            yield "The last message with one before it", f"{before}\n{turns[asked]}"


def _words(text: str) -> int:
    """How many words a text has; of a long one only that it has more than matter here."""
    return len(text.split(None, FOLLOW_UP_WORDS + 1))
