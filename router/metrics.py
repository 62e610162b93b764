"""What a replica counts, in Prometheus format."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from router.engine import Usage
from router.routing.decision import Decision
from router.routing.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
AUTO = "auto"
LABELLED_SPECIALISTS = 100
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

# Nobody asks when a counter began, and it would double their lines.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One replica's metrics; names are OpenTelemetry's where it has one."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._labelled: set[str] = set()
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Time until a response was sent in full.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._first_item = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request's resolution to the engine's first token.",
            ("gen_ai_operation_name",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._pace = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time between an answer's tokens, after the first.",
            ("gen_ai_operation_name",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._probability = Histogram(
            "myriad_decision_probability",
            "How likely whoever `auto` chose was the right one.",
            buckets=PROBABILITIES,
            registry=self._registry,
        )
        self._abstentions = Counter(
            "myriad_abstentions",
            "Requests to `auto` that no specialist fitted; the base answered.",
            registry=self._registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens per request.",
            ("gen_ai_operation_name", "gen_ai_token_type"),
            buckets=TOKENS,
            registry=self._registry,
        )
        self._decisions = Counter(
            "myriad_decisions",
            f"Requests per specialist; after {LABELLED_SPECIALISTS} specialists, 'other'.",
            ("specialist", "by"),
            registry=self._registry,
        )
        self._generation = Gauge(
            "myriad_snapshot_generation",
            "Number of the registry's change that the routes are level with.",
            registry=self._registry,
        )
        self._specialists = Gauge(
            "myriad_snapshot_specialists", "Specialists in the routes.", registry=self._registry
        )
        self._examples = Gauge(
            "myriad_snapshot_examples", "Example vectors in the routes.", registry=self._registry
        )
        self._skipped = Gauge(
            "myriad_snapshot_skipped",
            "Specialists that cannot be routed to; the log says why.",
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def decided(self, decision: Decision, base: str, by: str) -> None:
        """Count a decision made `by` "auto" or "name"."""
        self._decisions.labels(self._label(decision.specialist or base), by).inc()
        if by != AUTO:
            return
        if decision.specialist is None:
            self._abstentions.inc()
        elif decision.score is not None:
            self._probability.observe(decision.score)

    def started(self, operation: str, seconds: float) -> None:
        """Record the time to the first token of an operation, such as a "chat"."""
        self._first_item.labels(operation).observe(seconds)

    def paced(self, operation: str, seconds: float) -> None:
        """Record the mean time between an answer's tokens."""
        self._pace.labels(operation).observe(seconds)

    def used(self, operation: str, usage: Usage) -> None:
        """Record a finished answer's tokens."""
        self._tokens.labels(operation, "input").observe(usage.prompt_tokens)
        self._tokens.labels(operation, "output").observe(usage.completion_tokens)

    def exposition(self, snapshot: Snapshot | None, skipped: int = 0) -> bytes:
        """All metrics in Prometheus' text format."""
        if snapshot is not None:
            self._generation.set(snapshot.generation)
            self._specialists.set(len(snapshot))
            self._examples.set(snapshot.examples)
            self._skipped.set(skipped)
        return generate_latest(self._registry)

    def _label(self, specialist: str) -> str:
        if specialist not in self._labelled:
            if len(self._labelled) >= LABELLED_SPECIALISTS:
                return "other"
            self._labelled.add(specialist)
        return specialist
