"""The figures of all replicas, as one text in Prometheus' format."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

REPLICA = "replica"
QUEUES = {
    "training_jobs": "Fine-tuning jobs, by status.",
    "batches": "Batches, by status.",
}
TOTAL = "_total"
TITLES = {
    "running": "Rows that are computed.",
    "waiting": "Rows that wait.",
    "pages": "Pages for keys and values, in all.",
    "pages_free": "Pages for keys and values that are free.",
    "adapters_resident": "Adapters in memory.",
    "adapter_bytes": "Bytes that resident adapters take.",
    "adapter_loads_total": "Adapters that were loaded.",
    "adapter_evictions_total": "Adapters that made room for others.",
    "prompt_tokens_total": "Tokens of prompts that were computed.",
    "cached_tokens_total": "Tokens of prompts that were known already.",
    "generated_tokens_total": "Tokens that were generated.",
    "drafted_tokens_total": "Tokens that were guessed, and computed beside others.",
    "accepted_tokens_total": "Guessed tokens that came true.",
    "steps_total": "Steps that were computed.",
    "memory_bytes": "Memory of the process.",
}


def gathered(
    routers: Mapping[str, bytes],
    engines: Mapping[str, Mapping[str, float]],
    queues: Mapping[str, Mapping[str, int]] | None = None,
) -> bytes:
    """Every figure with the name of its replica.

    Args:
        routers: what each router exposes of itself, in the same format.
        engines: figures of each engine by their names; those that end in "_total" only grow.
        queues: what the registry knows of, such as "jobs", by how far it is; those that are known.
    """
    registry = CollectorRegistry()
    registry.register(_Gathered(routers, engines, queues or {}))
    return generate_latest(registry)


class _Gathered(Collector):
    def __init__(
        self,
        routers: Mapping[str, bytes],
        engines: Mapping[str, Mapping[str, float]],
        queues: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._routers = routers
        self._engines = engines
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        yield _count("myriad_router_replicas", "Routers that answer.", len(self._routers))
        yield from self._of_routers()
        yield _count("myriad_engine_replicas", "Engines that answer.", len(self._engines))
        yield from self._of_engines()
        for name, counts in self._queues.items():
            family = Metric(f"myriad_{name}", QUEUES[name], "gauge")
            for status, count in counts.items():
                family.add_sample(family.name, {"status": status}, count)
            yield family

    def _of_routers(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for replica, text in self._routers.items():
            for family in text_string_to_metric_families(text.decode()):
                known = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for each in family.samples:
                    known.add_sample(each.name, {**each.labels, REPLICA: replica}, each.value)
        yield from families.values()

    def _of_engines(self) -> Iterator[Metric]:
        names = dict.fromkeys(name for figures in self._engines.values() for name in figures)
        for name in names:
            kind = "counter" if name.endswith(TOTAL) else "gauge"
            full = f"myriad_engine_{name}"
            family = Metric(full.removesuffix(TOTAL), TITLES.get(name, name), kind)
            for replica, figures in self._engines.items():
                if name in figures:
                    family.add_sample(full, {REPLICA: replica}, figures[name])
            yield family


def _count(name: str, title: str, count: int) -> Metric:
    family = Metric(name, title, "gauge")
    family.add_sample(name, {}, count)
    return family
