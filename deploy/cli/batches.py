"""`myriad batches`: have files of requests answered in the background."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.options import AsJson, Url, connect, group
from deploy.cli.output import Output, add_row, facts, moment, table
from deploy.errors import Unfinished

if TYPE_CHECKING:
    from deploy.client import Client

app = group("Have files of requests answered in the background.")

ENDED = ("completed", "failed", "expired", "cancelled")
LOOK_SECONDS = 0.5

BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="The batch, such as batch-….")]


@app.command()
def create(
    requests: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A request in each line, as JSON.")
    ],
    endpoint: Annotated[str, typer.Option(help="What they are for.")] = "/v1/chat/completions",
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="For the answers; default: REQUESTS.answers.jsonl."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the batch to its end.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have the requests of a file answered, each by whom it names."""
    output = Output(as_json)
    with connect(url) as client:
        file = client.send(requests, "batch")["id"]
        batch = client.create_batch(file, endpoint)
        output.show({"event": "created", "batch": batch}, f"Batch {batch['id']} is asked for.")
        if wait:
            _follow(client, batch["id"], out or requests.with_suffix(".answers.jsonl"), output)


@app.command()
def follow(
    batch: BatchId,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="For the answers; default: BATCH.answers.jsonl."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a batch to its end, and fetch its answers."""
    with connect(url) as client:
        _follow(client, batch, out or Path(f"{batch}.answers.jsonl"), Output(as_json))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Show at most so many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List your batches, the latest first."""
    with connect(url) as client:
        found = client.batches(limit)
    grid = table("batch", "status", "answered", "asked for")
    for each in found["data"]:
        add_row(grid, each["id"], each["status"], _answered(each), moment(each["created_at"]))
    Output(as_json).show(found, grid)


@app.command()
def show(batch: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Show how far a batch is, and what came of it."""
    with connect(url) as client:
        found = client.batch(batch)
    Output(as_json).show(found, facts(_facts(found)))


@app.command()
def cancel(batch: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """End a batch; what is answered by then is kept."""
    with connect(url) as client:
        found = client.cancel_batch(batch)
    Output(as_json).show(found, f"{batch} is {found['status']}.")


def _follow(client: "Client", identity: str, out: Path, output: Output) -> None:
    """Tell how far it is until it has ended, and fetch its files.

    Raises:
        Unfinished: not all its requests were tried.
    """
    with output.told("answering") as tell:
        while (batch := client.batch(identity))["status"] not in ENDED:
            counts = batch["request_counts"]
            if counts["total"]:
                tell("Answering", counts["completed"] + counts["failed"], counts["total"])
            time.sleep(LOOK_SECONDS)
    files = _fetched(client, batch, out)
    shown = facts(_facts(batch) | files)
    output.show({"event": batch["status"], "batch": batch, "files": files}, shown)
    if batch["status"] != "completed":
        raise Unfinished(identity, batch["status"])


def _fetched(client: "Client", batch: dict[str, Any], out: Path) -> dict[str, str]:
    """Where its files lie now, by what they hold."""
    refusals = out.with_name(f"{out.stem.removesuffix('.answers')}.refusals.jsonl")
    wanted = {"answers": ("output_file_id", out), "refusals": ("error_file_id", refusals)}
    found = {name: (batch[field], path) for name, (field, path) in wanted.items() if batch[field]}
    for file, path in found.values():
        client.fetch(file, path)
    return {name: str(path) for name, (_, path) in found.items()}


def _facts(batch: dict[str, Any]) -> dict[str, object]:
    problems = (batch["errors"] or {"data": []})["data"]
    return {
        "batch": batch["id"],
        "status": batch["status"],
        "answered": _answered(batch),
        "refused": batch["request_counts"]["failed"] or None,
        "why": "\n".join(map(_problem, problems)) or None,
    }


def _problem(problem: dict[str, Any]) -> str:
    line = problem["line"]
    return problem["message"] if line is None else f"line {line}: {problem['message']}"


def _answered(batch: dict[str, Any]) -> str:
    counts = batch["request_counts"]
    return f"{counts['completed']:,} of {counts['total']:,}"
