"""`myriad status`: is it up, and what does it serve."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, add_row, facts, table
from deploy.errors import ServerRefused, ServerUnreachable

if TYPE_CHECKING:
    from deploy.client import Client

GAUGES = {
    "generation": "myriad_snapshot_generation",
    "specialists": "myriad_snapshot_specialists",
    "examples": "myriad_snapshot_examples",
}
DECISIONS = "myriad_decisions_total"
TOKENS = "gen_ai_client_token_usage_sum"


def status(url: Url = None, as_json: AsJson = False) -> None:
    """Show whether Myriad is up, and what it serves; exit code 1 when it is not ready."""
    output = Output(as_json)
    with connect(url) as client:
        found = _found(client)
    answers = found.get("answers") or {}
    apart = ("answers", "missing", "skipped", "reading")
    shown = {name: value for name, value in found.items() if name not in apart}
    shown["missing"] = ", ".join(found.get("missing") or ()) or None
    if reading := found.get("reading"):
        shown["reading"] = f"{reading['done']} of {reading['of']} specialists"
    reasons = [f"{name}: {reason}" for name, reason in (found.get("skipped") or {}).items()]
    shown["cannot be routed to"] = "\n".join(reasons) or None
    grid = table("answered by", "requests")
    for specialist, count in sorted(answers.items(), key=lambda pair: -pair[1]):
        add_row(grid, specialist, count)
    output.show(found, facts(shown), *([grid] if answers else []))
    if found["state"] != "ready":
        raise typer.Exit(1)


def _found(client: "Client") -> dict[str, Any]:
    """What the server says of itself; counts are those of the replica that answered."""
    try:
        readiness = client.ready()
    except ServerUnreachable as error:
        return {"url": client.url, "state": "down", "message": str(error)}
    state = "ready" if readiness.ready else "starting"
    missing = list(readiness.details.get("missing") or ())
    skipped = dict(readiness.details.get("skipped") or {})
    head: dict[str, Any] = {"url": client.url, "state": state, "missing": missing}
    head |= {"skipped": skipped, "reading": readiness.details.get("reading")}
    try:
        return head | {"base": client.base()} | _figures(client.metrics())
    except ServerRefused as error:
        return head | {"message": str(error)}


def _figures(metrics: str) -> dict[str, Any]:
    samples = list(_samples(metrics))
    gauges = {
        name: next((int(value) for found, _, value in samples if found == gauge), None)
        for name, gauge in GAUGES.items()
    }
    tokens = {"input": 0, "output": 0}
    answers: dict[str, int] = {}
    for found, labels, value in samples:
        if found == DECISIONS:
            answers[labels["specialist"]] = answers.get(labels["specialist"], 0) + int(value)
        elif found == TOKENS:
            tokens[labels["gen_ai_token_type"]] += int(value)
    counts = {"input_tokens": tokens["input"], "output_tokens": tokens["output"]}
    return {**gauges, **counts, "answers": answers}


def _samples(metrics: str) -> Iterator[tuple[str, dict[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
