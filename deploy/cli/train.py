"""`myriad train`: from chat rows to a specialist in service."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.options import AsJson, SpecialistId, Url, connect, id_of
from deploy.cli.output import Output
from deploy.cli.specialists import evaluation, registered, send
from deploy.errors import DeployError, InvalidSetting, ServerUnreachable
from deploy.quiet import quiet
from registry.effort import Effort

if TYPE_CHECKING:
    from deploy.progress import Told
    from deploy.settings import Settings
    from registry.card import Card, Dataset
    from specialists.base import Base
    from specialists.training.evaluate import Score, Text
    from specialists.training.finetune import Progress, Trained
    from specialists.training.recipe import Recipe

UNFINISHED = "unfinished.safetensors"
"""In the folder of the result: where a training that was cut off goes on from."""

Data = Annotated[
    Path,
    typer.Option(exists=True, dir_okay=False, help='Rows {"messages": [...]}, one JSON per line.'),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output", file_okay=False, help="Folder of the result; default: in MYRIAD_HOME."
    ),
]


def train(
    specialist: SpecialistId,
    data: Data,
    heldout: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Rows to score the result with."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="What it says of itself, in YAML or JSON."),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it is for; needed when there is no card.")
    ] = None,
    effort: Annotated[Effort, typer.Option(help="How much of it.")] = "standard",
    rank: Annotated[
        int | None, typer.Option(min=1, max=256, help="Size of the adapter; default: 16.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the rows; default: by --effort.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="Length of each step; default: 0.001.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes the result repeatable.")] = 0,
    folder: Folder = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish-requests", help="Show the training requests that serve routing in the card."
        ),
    ] = False,
    register: Annotated[
        bool, typer.Option(help="Put the result into service on the server.")
    ] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a specialist on your chats and put it into service."""
    from deploy.cli.cards import load_card, write_card
    from deploy.settings import read_settings

    output = Output(as_json)
    settings = read_settings()
    name = id_of(specialist)
    draft = load_card(name, card, description)
    task = _read_task(data, heldout)
    target = folder or settings.home / "trained" / name
    target.mkdir(parents=True, exist_ok=True)
    served = _served_base(url) if register else None
    with quiet():
        base = prepared(settings, output)
        _require_same(base.name, served)
        wanted = {"rank": rank, "epochs": epochs, "learning_rate": learning_rate}
        recipe = _recipe(len(task.rows), effort, seed, wanted)
        scores = _make(base, task, target, recipe, output)
        digest = _digest(base, settings)
        final = _complete(draft, base.name, digest, task, scores, publish=publish)
        write_card(final, target)
    if register:
        _register(final, target, url, output)


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt, and what it is judged by."""

    learnt: "Dataset"
    rows: "list[Text]"
    heldout_file: Path | None
    heldout: "list[Text]"


def _read_task(data: Path, heldout: Path | None) -> Task:
    from deploy.cli.cards import dataset

    rows = _read(data)
    return Task(dataset(data, len(rows)), rows, heldout, _read(heldout) if heldout else [])


def _read(file: Path) -> "list[Text]":
    from specialists.training.lessons import lessons_of
    from specialists.training.pairs import Pair

    lessons = lessons_of(file.read_bytes(), str(file), "supervised")
    return [lesson for lesson in lessons if not isinstance(lesson, Pair)]


def _served_base(url: str | None) -> str | None:
    """The base of a server that is ready: asked before the training, not after it."""
    with connect(url) as client:
        try:
            ready = client.ready().ready
        except ServerUnreachable as error:
            raise ServerUnreachable(f"{error}; or train with --no-register") from error
        if not ready:
            raise ServerUnreachable(f"{client.url} is not ready yet: see `myriad status`")
        return client.base()


def _require_same(base: str, served: str | None) -> None:
    if served not in (None, base):
        raise InvalidSetting(
            f"this would train for the base {base}, but the server has {served}: "
            "set MYRIAD_BASE to the same for both, or train with --no-register"
        )


def prepared(settings: "Settings", output: Output) -> "Base":
    """The base that is set, unpacked if need be."""
    from specialists.base import prepare_base

    with output.told("preparing") as tell:
        return prepare_base(settings.base, settings.home, tell)


def _recipe(
    rows: int, effort: Effort, seed: int, wanted: "Mapping[str, int | float | None]"
) -> "Recipe":
    from specialists.training.recipe import recipe_for

    said: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    return replace(recipe_for(rows, effort, seed), **said)


def _digest(base: "Base", settings: "Settings") -> str:
    from deploy.home import base_spec

    return base_spec(settings, base).digest


def _make(
    base: "Base", task: Task, target: Path, recipe: "Recipe", output: Output
) -> "list[Score]":
    """Train, write the adapter, and score it."""
    from specialists.training.checkpoint import InFile
    from specialists.training.finetune import finetune

    unfinished = target / UNFINISHED
    with output.told() as tell:
        report = _reporter(tell, output)
        trained = finetune(base, task.rows, target, recipe, report, keeper=InFile(unfinished))
    unfinished.unlink(missing_ok=True)
    _tell_trained(trained, output)
    return _evaluate(base, task, target, output)


def _reporter(tell: "Told", output: Output) -> "Callable[[Progress], None]":
    if output.as_json:
        return lambda step: output.json({"event": "step", **asdict(step)})
    return lambda step: tell("Training", step.step, step.steps, figures(step))


def figures(step: "Progress") -> str:
    """How a step of training went, and how long the rest may take."""
    minutes, seconds = divmod(round(step.seconds_left), 60)
    return (
        f"loss {step.loss:.3f}, {step.tokens_per_second:.0f} tokens/s, {minutes}:{seconds:02} left"
    )


def _tell_trained(trained: "Trained", output: Output) -> None:
    left_out = f", {trained.left_out} too long" if trained.left_out else ""
    output.show(
        {"event": "trained", **_figures_of(trained)},
        f"Trained on {trained.rows} rows{left_out} in {trained.seconds:.0f} s, "
        f"loss {trained.loss:.3f}: {trained.folder}",
    )


def _figures_of(trained: "Trained") -> dict[str, Any]:
    """What programs are told of it; the curve went by step by step."""
    found = asdict(trained) | {"folder": str(trained.folder)}
    return {name: value for name, value in found.items() if name not in ("losses", "validation")}


def _evaluate(base: "Base", task: Task, target: Path, output: Output) -> "list[Score]":
    from registry.digests import digest_file
    from registry.files import AdapterFiles
    from specialists.training.evaluate import evaluate

    if task.heldout_file is None:
        return []
    with output.told("scoring") as tell:
        files, data = AdapterFiles.in_folder(target), digest_file(task.heldout_file)
        scores = evaluate(base, files, task.heldout, data, tell)
    rows = [asdict(score) for score in scores]
    output.show({"event": "scored", "scores": rows}, *evaluation(rows))
    return scores


def _complete(
    card: "Card", base: str, digest: str, task: Task, scores: "list[Score]", *, publish: bool
) -> "Card":
    from specialists.training.card import complete

    return complete(card, base, digest, task.learnt, task.rows, scores, publish=publish)


def _register(card: "Card", folder: Path, url: str | None, output: Output) -> None:
    try:
        with connect(url) as client:
            version = send(client, card.model_dump(mode="json", exclude_defaults=True), folder)
    except DeployError:
        output.note(f"Not in service yet: myriad specialists register {card.id} {folder}")
        raise
    output.show({"event": "registered", **version}, registered(version, card.id))
