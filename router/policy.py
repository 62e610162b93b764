"""The rule by which `auto` finds a specialist."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.decision import Candidate, Decision, base_answers
from router.encoder import Encoder
from router.snapshot import Snapshot

MAX_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Policy:
    """The specialist whose examples are nearest answers, if it is near enough; else the base.

    Attributes:
        threshold: Score below which the base answers. With ten tasks of 40 examples each, the
            default keeps 94% of their requests in other words with the right specialist and
            leaves 96% of CLINC150's out-of-scope requests to the base.
        candidates: How many specialists a decision lists.
    """

    threshold: float = 0.35
    candidates: int = 5

    def decide(self, snapshot: Snapshot, encoder: Encoder, turns: Sequence[str]) -> Decision:
        """Choose by the last of the user's `turns` (oldest first).

        One that fits nothing by itself may be a short follow-up, so it is tried once more
        together with the turn before it.
        """
        if not turns or not turns[-1].strip():
            return base_answers("There is no user message to route by.", snapshot.generation)
        if not snapshot.routes:
            return base_answers("No specialist is registered.", snapshot.generation)
        alone = self._candidates(snapshot, encoder, turns[-1])
        if alone[0].score >= self.threshold or len(turns) < 2:
            return self._decision(snapshot, alone, "The last message")
        joined = self._candidates(snapshot, encoder, f"{turns[-2]}\n{turns[-1]}")
        if joined[0].score >= self.threshold:
            return self._decision(snapshot, joined, "The last message with the one before it")
        return self._decision(snapshot, alone, "The last message")

    def _decision(
        self, snapshot: Snapshot, candidates: tuple[Candidate, ...], what: str
    ) -> Decision:
        best = candidates[0]
        scores = f"{best.specialist} scores {best.score:.2f}"
        if best.score < self.threshold:
            reason = f"The base answers, since no specialist is near: {scores}, "
            reason += f"under the threshold of {self.threshold:.2f}."
            return Decision(None, None, None, best.score, reason, candidates, snapshot.generation)
        reason = f"{what} is like its examples: {scores}, threshold {self.threshold:.2f}."
        return Decision(
            best.specialist,
            best.version,
            best.digest,
            best.score,
            reason,
            candidates,
            snapshot.generation,
        )

    def _candidates(self, snapshot: Snapshot, encoder: Encoder, text: str) -> tuple[Candidate, ...]:
        # The encoder reads no further than this anyway; tokenising the rest would take time.
        vector = encoder.encode([text[:MAX_CHARACTERS]])[0]
        nearest = snapshot.index.nearest(vector, self.candidates)
        return tuple(
            Candidate(route.specialist, route.version, route.digest, round(score, 4))
            for route, score in ((snapshot.routes[row], score) for row, score in nearest)
        )
