"""The rule by which `auto` finds a specialist."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from router.routing.chores import is_chore
from router.routing.copies import without_copies
from router.routing.decision import Candidate, Decision, base_answers
from router.routing.encoder import Encoder
from router.routing.index import score
from router.routing.snapshot import Snapshot

ECHO_WORDS = 2
"""A turn of so few words, such as "ok" or "yes please", asks for nothing of its own."""
FOLLOW_UP_WORDS = 12
"""A turn of so few words may lean on one before it."""
TURNS_BACK = 3
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

    def _compare_long(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        """By the first part of a long text that fits a specialist; by all of it if none does."""
        for window in encoder.windows(text):
            found = self._compare(snapshot, encoder, window)
            if self._fits(found):
                break
        return found

    def _compare(self, snapshot: Snapshot, encoder: Encoder, text: str) -> Comparison:
        vector = encoder.encode([text])[0]
        general = round(score(snapshot.general, vector), 4)
        needed = self._needed(general)
        nearest = snapshot.nearest(vector, self.candidates + POOL, needed)
        original = without_copies(nearest, vector, needed)
        candidates = tuple(
            Candidate(route.specialist, route.version, route.digest, round(scored, 4))
            for route, scored in original[: self.candidates]
        )
        return Comparison(candidates, general)


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
