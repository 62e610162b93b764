"""What a server's metrics say, as `myriad status` shows it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

GAUGES = {
    "generation": "myriad_snapshot_generation",
    "specialists": "myriad_snapshot_specialists",
    "examples": "myriad_snapshot_examples",
}
DECISIONS = "myriad_decisions_total"
TOKENS = "gen_ai_client_token_usage_sum"
ROUTERS = "myriad_router_replicas"
ENGINE = "myriad_engine_"
QUEUES = {"myriad_training_jobs": "jobs", "myriad_batches": "batches"}
"""What tells of them, and what they are called here."""
REPLICA = "replica"


@dataclass
class Figures:
    """One look at all replicas.

    Attributes:
        gauges: of the routes, of the router that is furthest.
        tokens: of answered requests, "input" and "output".
        answers: requests by specialist.
        routers: how many answer.
        engines: of each engine that answers its figures, by their names without prefix.
        queues: "jobs" and "batches" by status.
    """

    gauges: dict[str, int | None] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=lambda: {"input": 0, "output": 0})
    answers: dict[str, int] = field(default_factory=dict)
    routers: int = 0
    engines: dict[str, dict[str, float]] = field(default_factory=dict)
    queues: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, metrics: str) -> "Figures":
        """Read an exposition in Prometheus' format."""
        made, seen = cls(), defaultdict[str, list[float]](list)
        for name, labels, value in _samples(metrics):
            seen[name].append(value)
            if name == DECISIONS:
                specialist = labels["specialist"]
                made.answers[specialist] = made.answers.get(specialist, 0) + int(value)
            elif name == TOKENS:
                made.tokens[labels["gen_ai_token_type"]] += int(value)
            elif name in QUEUES:
                made.queues.setdefault(QUEUES[name], {})[labels["status"]] = int(value)
            elif name.startswith(ENGINE) and REPLICA in labels:
                own = made.engines.setdefault(labels[REPLICA], {})
                own[name.removeprefix(ENGINE)] = value
        made.routers = int(max(seen[ROUTERS], default=0))
        made.gauges = {
            name: int(max(seen[gauge])) if seen[gauge] else None for name, gauge in GAUGES.items()
        }
        return made

    def total(self, name: str) -> float:
        """A figure of all engines together."""
        return sum(own.get(name, 0.0) for own in self.engines.values())


def _samples(metrics: str) -> Iterator[tuple[str, dict[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
