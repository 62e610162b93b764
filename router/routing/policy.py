"""The rule by which `auto` finds a specialist."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.routing.chores import is_chore
from router.routing.copies import Found, Originals
from router.routing.decision import Candidate, Decision, Evidence, Rule, base_answers
from router.routing.duel import RIVALS, decided, votes
from router.routing.encoder import Encoder, Vectors
from router.routing.filters import NOTHING, Options
from router.routing.index import NEIGHBOURS
from router.routing.odds import against_base, log_odds, probabilities
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.ties import Warm, winner

TURNS_BACK = 64
"""Turns of the user that are looked at, at most."""
STAYS = 3.5
"""Log-odds that a conversation stays with its topic, before a word of the next turn is read."""
LEAST = 1e-6
POOL = 16
"""Specialists whose examples are nearest, among which the probes decide."""
SURE = 8.0
"""Log-odds by which one must be ahead of others not to be compared with them once more."""
LEADING = 5
"""Specialists whose examples are looked through for copies, at least."""
TIED = 3
"""Digits of log-odds that tell two specialists apart."""
ASKED_FOR = 0.02
"""Probability from which on a specialist without a probe should have one."""
TIE = float(np.log(2))
"""Log-odds by which one may be ahead of others and yet is only about as likely."""
NEAR_TIE = float(np.log(1.2))
"""Log-odds that tell nothing: who is ahead by no more is as often the wrong one, nearly."""


WHY: Mapping[Rule, str] = {
    "preferred": "It is preferred to",
    "quality": "By its scores on the same held-out data it is better than",
    "warmth": "It is in memory, other than",
    "price": "It costs less than",
}
"""How it is said, before who was likelier."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The likeliest specialists for a text, best first, and what else was found.

    Attributes:
        candidates: what is likeliest, each with its probability.
        evidence: what else was found.
        rule: why the first of them stands there.
    """

    candidates: tuple[Candidate, ...]
    evidence: Evidence
    rule: Rule = "likeliest"


@dataclass(frozen=True, slots=True)
class Policy:
    """The likeliest specialist answers, unless the base is likelier by more than a little.

    The specialists whose examples lie nearest are found first (`index.py`); among them the probes
    decide (`probe.py`), `odds.py` turns both into probabilities, and the likeliest few are compared
    once more among themselves (`duel.py`). The base competes by requests of its own, which every
    probe was fitted to tell its own from. A turn that follows up stays with what it follows.

    Attributes:
        threshold: Probability, beside the base alone, that a specialist must reach.
        candidates: How many specialists a decision lists.
        preferred: Ids, and owners, that go before others that are about as likely.
        warm: Says which adapters are in memory, where others are as likely.
    """

    threshold: float = 0.38
    candidates: int = LEADING
    preferred: frozenset[str] = NOTHING
    warm: Warm = lambda _: False

    def asked(self, options: Options) -> "Policy":
        """The policy as a request would have it."""
        threshold = self.threshold if options.threshold is None else options.threshold
        return replace(self, threshold=threshold, preferred=options.preferred)

    def decide(self, snapshot: Snapshot, encoder: Encoder, turns: Sequence[str]) -> Decision:
        """Choose by the user's `turns` (oldest first), the last one before all others."""
        if not turns or not turns[-1].strip():
            reason = "There is no user message to route by."
            return base_answers(reason, "empty", snapshot.generation)
        if is_chore(turns[-1]):
            reason = "A chat interface asks this on its own."
            return base_answers(reason, "chore", snapshot.generation)
        if not len(snapshot):
            return _nobody(snapshot)
        what, found = self._converse(snapshot, encoder, list(turns[-TURNS_BACK:]))
        return self._decision(snapshot, what, found)

    def _converse(
        self, snapshot: Snapshot, encoder: Encoder, turns: Sequence[str]
    ) -> tuple[str, Comparison]:
        """What the last of the turns is about, and in whose words that was found.

        A turn is a request of its own, for a specialist or for the base, or it goes on with what
        the one before it was about: as a request to the same specialist, or as words that say
        nothing without it. The likeliest holds.
        """
        *before, last = turns
        alone = self._compare_long(snapshot, encoder, last)
        if not before:
            return "The last message", alone
        follows = self._follows(snapshot, encoder, last) + STAYS
        rivals, heirs = max(alone.evidence.odds, 0), self._heirs(alone)
        if follows <= rivals and not heirs:
            return "The last message", alone
        _, previous = self._converse(snapshot, encoder, before)
        goes_on = self._fits(previous) and previous.candidates[0].specialist in heirs
        if follows > rivals or goes_on:
            return "The message that the last one follows up on", previous
        return "The last message", alone

    def _heirs(self, alone: Comparison) -> set[str]:
        """The specialists that a turn is likeliest for if they had the one before it."""
        found = set()
        best, base = alone.candidates[0], max(alone.evidence.base, LEAST)
        for each in alone.candidates:
            rivals = 0 if each is best else max(alone.evidence.odds, 0)
            if np.log(max(each.score, LEAST) / base) + STAYS > rivals:
                found.add(each.specialist)
        return found - {best.specialist} if self._fits(alone) else found

    @staticmethod
    def _follows(snapshot: Snapshot, encoder: Encoder, text: str) -> float:
        """Log-odds that a turn says nothing alone, against that it is a general request."""
        if snapshot.follow_up is None:
            return -np.inf
        [part, *_] = encoder.windows(text)
        return snapshot.follow_up(encoder.encode([part])[0])

    def _fits(self, found: Comparison) -> bool:
        return found.evidence.fit >= self.threshold

    def _decision(self, snapshot: Snapshot, what: str, found: Comparison) -> Decision:
        best = found.candidates[0]
        likely = f"{best.specialist} {best.score:.2f}, the base {found.evidence.base:.2f}."
        reason = f"{what} is like its examples: {likely}"
        decision = Decision(
            best.specialist,
            best.version,
            best.digest,
            best.score,
            reason,
            found.candidates,
            snapshot.generation,
            rule=found.rule,
            evidence=found.evidence,
        )
        if self._fits(found):
            return _with_reason(decision)
        reason = f"No specialist is likely enough: {likely}"
        return replace(
            decision, specialist=None, version=None, digest=None, reason=reason, rule="unlikely"
        )

    def _compare_long(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        """By the first part of a long text that fits a specialist; by all of it if none does."""
        for window in encoder.windows(text):
            found = self._compare(snapshot, encoder, window)
            if self._fits(found):
                break
        return found

    def _compare(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        vector = encoder.encode([text])[0]
        odds, rule = self._first(_after_duel(_around(snapshot, vector), vector))
        likely = probabilities([each for each, _ in odds])
        pairs = list(zip(odds, likely, strict=True))
        shown = pairs[: self.candidates]
        candidates = tuple(_candidate(each, probability) for (_, each), probability in shown)
        unprobed = tuple(
            found.route.specialist
            for (_, found), probability in pairs
            if probability >= ASKED_FOR and snapshot.probe(found.route) is None
        )
        evidence = Evidence(text, odds[0][0], 1 - sum(likely), unprobed)
        return Comparison(candidates, evidence, rule)

    def _first(self, odds: list[tuple[float, Found]]) -> tuple[list[tuple[float, Found]], Rule]:
        """The odds, best first, but before what is no likelier whoever other evidence is for."""
        at, rule = self._preferred(odds)
        return [odds[at], *odds[:at], *odds[at + 1 :]], rule

    def _preferred(self, odds: list[tuple[float, Found]]) -> tuple[int, Rule]:
        """Which one goes first, and why: who is preferred, or else who wins a near tie."""
        for at, (_, found) in enumerate(self._about_as_likely(odds, TIE)):
            if self._prefers(found.route):
                return at, "preferred" if at else "likeliest"
        near = [found.route for _, found in self._about_as_likely(odds, NEAR_TIE)]
        at, reason = winner(near, self.warm) if len(near) > 1 else (0, None)
        return at, reason or "likeliest"

    def _about_as_likely(
        self, odds: list[tuple[float, Found]], tie: float
    ) -> list[tuple[float, Found]]:
        """The first ones, as far as they are likely enough and not much less so than the best."""
        least = odds[0][0] - tie
        return [
            pair for pair in odds if pair[0] >= least and against_base(pair[0]) >= self.threshold
        ]

    def _prefers(self, route: Route) -> bool:
        return route.specialist in self.preferred or route.owner in self.preferred


def _nobody(snapshot: Snapshot) -> Decision:
    """The decision where there is nobody to choose."""
    if snapshot.is_filtered:
        reason = "No specialist passes the filters of the request."
        return base_answers(reason, "nothing passes", snapshot.generation)
    reason = "No specialist is registered."
    return base_answers(reason, "nothing registered", snapshot.generation)


def _with_reason(decision: Decision) -> Decision:
    """The decision, which says so where it fell against who was likelier, and would be first."""
    if decision.rule not in WHY or len(decision.candidates) < 2:
        return decision
    other = decision.candidates[1]
    reason = f"{decision.reason} {WHY[decision.rule]} {other.specialist} {other.score:.2f}."
    return replace(decision, reason=reason)


def _around(snapshot: Snapshot, vector: Vectors) -> list[tuple[float, Found]]:
    """The routes whose examples are nearest to a request, with their odds, likeliest first."""
    general = snapshot.near_general(vector)
    nearest = snapshot.nearest(vector, POOL, general)
    found = [Found(route, near, route.rows) for route, near in nearest]

    def odds(one: Found) -> float:
        probe = snapshot.probe(one.route)
        return log_odds(probe, vector, one.near, general, len(one.rows))

    return _ranked(found, odds, lambda: Originals(found, vector, general))


def _ranked(
    found: Sequence[Found], odds: Callable[[Found], float], originals: Callable[[], Originals]
) -> list[tuple[float, Found]]:
    """Routes with their odds, likeliest first; those that matter by their own examples alone.

    Looking for copies takes longer than all odds together, and of those far behind it tells nothing
    that would be heard.
    """
    pairs = {each.route: (odds(each), each) for each in found}
    ranked = sorted(pairs.values(), key=_likeliest_first)
    if len({each.route.owner for each in found}) < 2:
        return ranked
    by_own, looked = originals(), set[Route]()
    while new := [each for each in _leading(ranked) if each.route not in looked]:
        looked.update(each.route for each in new)
        for each in new:
            own = by_own.of(each)
            if own is None:
                del pairs[each.route]
            elif own is not each:
                pairs[each.route] = (odds(own), own)
        ranked = sorted(pairs.values(), key=_likeliest_first)
    return ranked


def _leading(ranked: Sequence[tuple[float, Found]]) -> list[Found]:
    """The first ones, and all that are not much less likely than the best."""
    sure = ranked[0][0] - SURE
    return [found for at, (odds, found) in enumerate(ranked) if at < LEADING or odds > sure]


def _likeliest_first(pair: tuple[float, Found]) -> tuple[float, str]:
    # Where sums are rounded depends on what stands beside them: those that tie go by their names.
    return -round(pair[0], TIED), pair[1].route.specialist


def _after_duel(odds: list[tuple[float, Found]], vector: Vectors) -> list[tuple[float, Found]]:
    """The odds, best first, after the likeliest few were compared among themselves."""
    rivals = [each for each in odds[:RIVALS] if each[0] > odds[0][0] - SURE]
    if len(rivals) < 2:
        return odds
    rows = [found.rows.floats() for _, found in rivals]
    evidence = np.array([min(len(each), NEIGHBOURS) / NEIGHBOURS for each in rows])
    moved = decided([each for each, _ in rivals], votes(vector, rows), evidence)
    after = [(each, found) for each, (_, found) in zip(moved, rivals, strict=True)]
    return sorted([*after, *odds[len(rivals) :]], key=_likeliest_first)


def _candidate(found: Found, probability: float) -> Candidate:
    route = found.route
    return Candidate(route.specialist, route.version, route.digest, round(probability, 4))
