"""The rule by which `auto` finds a specialist."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.copies import without_copies
from router.decision import Candidate, Decision, base_answers
from router.encoder import Encoder
from router.index import score
from router.snapshot import Snapshot

MAX_CHARACTERS = 4000
POOL = 11
"""Specialists that are compared beyond those that are listed: the best may turn out as copies."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near a text is to the best specialists (best first) and to the general requests."""

    candidates: tuple[Candidate, ...]
    general: float


@dataclass(frozen=True, slots=True)
class Policy:
    """The specialist with the best score answers, if it beats the base's; else the base.

    The base competes by general requests of its own, scored like a specialist's examples.

    Measured with all-MiniLM-L6-v2 over requests worded unlike the examples: of the six demos' 280
    held-out requests (160 examples each) 78% reach their specialist and 10% another one, of ten
    narrow tasks' 740 (up to 128 examples each) 98% and 1%. Of CLINC150's 1,000 out-of-scope test
    requests the base keeps 73% among the demos, 83% among the tasks. A margin of 0.03 makes that
    84% and 89%, and the shares that reach their specialist 72% and 97%.

    Attributes:
        margin: By how much a specialist must beat the base, so that a tie is not one.
        threshold: Score below which a specialist is like nothing it was asked before, whatever
            the base's score.
        candidates: How many specialists a decision lists.
    """

    margin: float = 0.01
    threshold: float = 0.2
    candidates: int = 5

    def decide(self, snapshot: Snapshot, encoder: Encoder, turns: Sequence[str]) -> Decision:
        """Choose by the last of the user's `turns` (oldest first).

        One that fits no specialist by itself may be a short follow-up, so it is tried once more
        together with the turn before it.
        """
        if not turns or not turns[-1].strip():
            return base_answers("There is no user message to route by.", snapshot.generation)
        if not len(snapshot):
            return base_answers("No specialist is registered.", snapshot.generation)
        what, found = "The last message", self._compare(snapshot, encoder, turns[-1])
        if len(turns) > 1 and not self._fits(found):
            joined = self._compare(snapshot, encoder, f"{turns[-2]}\n{turns[-1]}")
            if self._fits(joined):
                what, found = "The last message with the one before it", joined
        return self._decision(snapshot, what, found)

    def _fits(self, found: Comparison) -> bool:
        return found.candidates[0].score >= self._needed(found.general)

    def _needed(self, general: float) -> float:
        """What a specialist must score; few examples of its own bring it only so far from it."""
        return round(max(self.threshold, general + self.margin), 4)

    def _decision(self, snapshot: Snapshot, what: str, found: Comparison) -> Decision:
        best, generation = found.candidates[0], snapshot.generation
        needed = f"{self._needed(found.general):.2f} needed"
        scores = f"{best.specialist} scores {best.score:.2f} ({needed}), "
        scores += f"general requests {found.general:.2f}."
        if not self._fits(found):
            reason = f"No specialist is near enough: {scores}"
            return Decision(None, None, None, best.score, reason, found.candidates, generation)
        reason = f"{what} is like its examples: {scores}"
        return Decision(
            best.specialist,
            best.version,
            best.digest,
            best.score,
            reason,
            found.candidates,
            generation,
        )

    def _compare(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        # The encoder reads no further than this anyway; tokenising the rest would take time.
        vector = encoder.encode([text[:MAX_CHARACTERS]])[0]
        general = round(score(snapshot.general, vector), 4)
        needed = self._needed(general)
        nearest = snapshot.nearest(vector, self.candidates + POOL, needed)
        original = without_copies(nearest, vector, needed)
        candidates = tuple(
            Candidate(route.specialist, route.version, route.digest, round(scored, 4))
            for route, scored in original[: self.candidates]
        )
        return Comparison(candidates, general)
