"""`myriad jobs`: have specialists trained by the server, and see how it goes."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from deploy.cli.options import AsJson, SpecialistId, Url, connect, group, id_of
from deploy.cli.output import Output, add_row, facts, moment, table
from deploy.errors import Unfinished
from registry.effort import Effort
from registry.method import Method

if TYPE_CHECKING:
    from deploy.client import Client
    from deploy.progress import Told

app = group("Have specialists trained by the server, and see how it goes.")

ENDED = ("succeeded", "failed", "cancelled")
LOOK_SECONDS = 0.5
EVENTS = 100
"""Read at once."""

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job, such as ftjob-….")]
Rows = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Rows to learn from.")]


@app.command()
def create(
    specialist: SpecialistId,
    data: Rows,
    heldout: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Rows to judge by; default: a tenth of the data."
        ),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it is for; default: as it says of itself so far.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="What it says of itself, in YAML or JSON."),
    ] = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish-requests", help="Show the training requests that serve routing in the card."
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="A specialist to train on from; default: the base.")
    ] = None,
    method: Annotated[
        Method, typer.Option(help="Learn from answers as they are, or from preference pairs.")
    ] = "supervised",
    effort: Annotated[Effort, typer.Option(help="How much of it.")] = "standard",
    seed: Annotated[int | None, typer.Option(min=0, help="Makes the result repeatable.")] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job to its end.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have a specialist trained on your rows, while the server serves."""
    output, name = Output(as_json), id_of(specialist)
    with connect(url) as client:
        asked: dict[str, Any] = {"specialist": name, "effort": effort, "seed": seed}
        asked |= {"model": model or client.base(), "training_file": client.send(data)["id"]}
        asked |= {"method": {"type": method}, "publish_requests": publish}
        asked["card"] = _card(name, card, description)
        if heldout is not None:
            asked["validation_file"] = client.send(heldout)["id"]
        followed(client, asked, output, wait=wait)


def _card(name: str, file: Path | None, description: str | None) -> dict[str, Any]:
    """What the card is to say."""
    from deploy.cli.cards import load_card
    from registry.card import FILLED_IN

    if file is None:
        return {} if description is None else {"description": description}
    fields = load_card(name, file, description).model_dump(mode="json", exclude_defaults=True)
    return {field: value for field, value in fields.items() if field not in ("id", *FILLED_IN)}


@app.command()
def follow(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a job to its end."""
    with connect(url) as client:
        _follow(client, job, Output(as_json))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Show at most so many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List your jobs, the latest first."""
    with connect(url) as client:
        found = client.jobs(limit)
    grid = table("job", "makes", "status", "asked for")
    for each in found["data"]:
        asked = moment(each["created_at"])
        add_row(grid, each["id"], each.get("specialist"), each["status"], asked)
    Output(as_json).show(found, grid)


@app.command()
def show(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show how far a job is, and what came of it."""
    with connect(url) as client:
        found = client.job(job)
    Output(as_json).show(found, *_shown(found))


@app.command()
def cancel(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """End a job; what it has learnt so far is lost."""
    _change(job, "cancel", url, as_json)


@app.command()
def pause(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Let a job wait."""
    _change(job, "pause", url, as_json)


@app.command()
def resume(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Let a paused job go on from where it is."""
    _change(job, "resume", url, as_json)


def followed(client: "Client", asked: dict[str, Any], output: Output, *, wait: bool = True) -> None:
    """Create a job, and follow it to its end if that is to be waited for.

    Raises:
        Unfinished: it was not trained to its end.
    """
    job = client.create_job(asked)
    output.show({"event": "created", "job": job}, f"Job {job['id']} makes {asked['specialist']}.")
    if wait:
        _follow(client, job["id"], output)


def _change(job: str, verb: str, url: str | None, as_json: bool) -> None:
    with connect(url) as client:
        found = client.change_job(job, verb)
    Output(as_json).show(found, f"{job} is {found['status']}.")


def _follow(client: "Client", job: str, output: Output) -> None:
    """Tell what happens until the job has ended.

    Raises:
        Unfinished: it was not trained to its end.
    """
    seen: set[str] = set()
    with output.told("training") as tell:
        while True:
            found = client.job(job)
            for event in _news(client, job, seen):
                _tell(event, tell, output)
            if found["status"] in ENDED:
                break
            time.sleep(LOOK_SECONDS)
    output.show({"event": found["status"], "job": found}, *_shown(found))
    if found["status"] != "succeeded":
        raise Unfinished(job, found["status"])


def _news(client: "Client", job: str, seen: set[str]) -> list[dict[str, Any]]:
    """Events that were not seen, the oldest first."""
    fresh: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = client.job_events(job, EVENTS, after)
        new = [each for each in page["data"] if each["id"] not in seen]
        fresh += new
        if len(new) < len(page["data"]) or not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    seen.update(each["id"] for each in fresh)
    return fresh[::-1]


def _tell(event: dict[str, Any], tell: "Told", output: Output) -> None:
    data = event.get("data") or {}
    if event.get("type") == "metrics":
        rate = data.get("tokens_per_second", 0)
        detail = f"loss {data.get('train_loss', 0):.3f}, {rate:.0f} tokens/s"
        tell("Training", data.get("step", 0), data.get("total_steps", 0), detail)
    elif output.as_json:
        output.json({"event": "told", "level": event["level"], "message": event["message"]})
    else:
        output.note(event["message"])


def _shown(job: dict[str, Any]) -> list[RenderableType]:
    error = job.get("error") or {}
    expected = job.get("estimated_finish")
    pairs: dict[str, object] = {
        "job": job["id"],
        "status": job["status"],
        "makes": job.get("specialist"),
        "done about": None if expected is None else moment(expected),
        "answers as": job.get("fine_tuned_model"),
        "trained tokens": job.get("trained_tokens"),
        "why": error.get("message"),
    }
    if name := job.get("fine_tuned_model"):
        pairs["try"] = f'myriad chat --model {name} "your question"'
    return [facts(pairs), *_evaluation(job.get("evaluation") or ())]


def _evaluation(scores: Any) -> list[RenderableType]:
    if not scores:
        return []
    grid = table("held-out score", "new", "95% of samples", "in service", "base", "rows")
    for each in scores:
        between = f"{each['low']:.3f} to {each['high']:.3f}"
        others = (_figure(each.get(name)) for name in ("before_value", "base_value"))
        add_row(grid, each["metric"], _figure(each["value"]), between, *others, each.get("rows"))
    return [grid]


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
