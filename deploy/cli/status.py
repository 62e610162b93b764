"""`myriad status`: is it up, and what does it serve."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli import watching
from deploy.cli.figures import Figures
from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, add_row, facts, table
from deploy.errors import ServerRefused, ServerUnreachable

if TYPE_CHECKING:
    from deploy.client import Client

QUEUED = {
    "jobs": {
        "running": "trained",
        "validating_files": "begun",
        "queued": "waiting",
        "paused": "paused",
        "failed": "failed",
    },
    "batches": {
        "in_progress": "answered",
        "validating": "begun",
        "finalizing": "written",
        "cancelling": "ended",
        "failed": "failed",
    },
}
"""What is told of jobs and batches, by their status."""


def status(
    url: Url = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing what the replicas do, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show whether Myriad is up, and what it serves; exit code 1 when it is not ready."""
    output = Output(as_json)
    with connect(url) as client:
        if watch:
            watching.watch(client, output)
        found = _found(client)
    answers = found.get("answers") or {}
    apart = ("answers", "missing", "skipped", "reading", "jobs", "batches")
    shown = {name: value for name, value in found.items() if name not in apart}
    shown["missing"] = ", ".join(found.get("missing") or ()) or None
    if reading := found.get("reading"):
        shown["reading"] = f"{reading['done']} of {reading['of']} specialists"
    for queue, words in QUEUED.items():
        shown[queue] = _queued(found.get(queue) or {}, words)
    reasons = [f"{name}: {reason}" for name, reason in (found.get("skipped") or {}).items()]
    shown["cannot be routed to"] = "\n".join(reasons) or None
    grid = table("answered by", "requests")
    for specialist, count in sorted(answers.items(), key=lambda pair: -pair[1]):
        add_row(grid, specialist, count)
    output.show(found, facts(shown), *([grid] if answers else []))
    if found["state"] != "ready":
        raise typer.Exit(1)


def _found(client: "Client") -> dict[str, Any]:
    """What the server says of itself; counts are those of all replicas."""
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
        return head | {"base": client.base()} | _figures(Figures.read(client.metrics()))
    except ServerRefused as error:
        return head | {"message": str(error)}


def _queued(counts: dict[str, int], words: dict[str, str]) -> str | None:
    """How many have not ended, and how many failed."""
    parts = [f"{counts[name]} {word}" for name, word in words.items() if counts.get(name)]
    return ", ".join(parts) or None


def _figures(found: Figures) -> dict[str, Any]:
    counts = {f"{kind}_tokens": count for kind, count in found.tokens.items()}
    replicas = {"routers": found.routers, "engines": len(found.engines)}
    rows = {name: int(found.total(name)) for name in ("running", "waiting")}
    rest = {"answers": found.answers, **found.queues}
    return {**found.gauges, **counts, **replicas, **rows, **rest}
