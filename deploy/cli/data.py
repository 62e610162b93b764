"""`myriad data`: rows, looked at before they are trained on, or made of what was asked."""

from dataclasses import asdict
from datetime import datetime
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from deploy.cli.options import AsJson, Url, connect, group, id_of
from deploy.cli.output import Output, add_row, facts, printable, table
from registry.effort import Effort

if TYPE_CHECKING:
    from specialists.training.inspection import Findings

app = group("Look at rows before they are trained on, or make some of what was asked.")

SHOWN = 20
"""Places of a kind that are named."""
PREVIEW = 2000
"""Characters of a row that are shown."""
BAR = 40


@app.command()
def check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Rows to learn from.")],
    validation: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Rows to judge the result by."),
    ] = None,
    effort: Annotated[Effort, typer.Option(help="How much of it is planned.")] = "standard",
    as_json: AsJson = False,
) -> None:
    """Say all that is wrong with a file of rows, and what would be learnt from it, how long."""
    from deploy.home import base_spec
    from deploy.settings import read_settings
    from specialists.base import locate_base
    from specialists.engine.text import Tokenizer
    from specialists.training.encoding import examples_of
    from specialists.training.inspection import inspect, pieces
    from specialists.training.lessons import lessons_of, read_lessons

    output, settings = Output(as_json), read_settings()
    base = locate_base(settings.base, settings.home)
    spec, tokenizer = base_spec(settings, base), Tokenizer.from_folder(base.folder)
    reading = read_lessons(file.read_bytes(), str(file))
    held = lessons_of(validation.read_bytes(), str(validation)) if validation else []
    parameters = spec.layers * sum(map(prod, spec.modules.values()))
    found = inspect(reading, tokenizer, parameters, effort, held)
    tried = (examples_of(row, tokenizer, found.recipe.max_tokens) for _, row in reading.rows)
    first = next((examples[0] for examples in tried if examples), None)
    parts = [] if first is None else first.parts
    preview = [piece for part in parts for piece in pieces(part, tokenizer)]
    shown = [{"text": text, "learnt": learnt} for text, learnt in preview]
    output.show(asdict(found) | {"preview": shown}, *_views(found, preview))
    if found.problems:
        raise typer.Exit(1)


@app.command("from-traffic")
def from_traffic(
    target: Annotated[
        Path, typer.Option("--output", dir_okay=False, help="The file of rows to be written.")
    ],
    specialist: Annotated[
        str | None,
        typer.Argument(
            metavar="OWNER/NAME", help="Without: what you asked and no specialist answered."
        ),
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Preference pairs of edits and what was answered.")
    ] = False,
    unrated: Annotated[
        bool, typer.Option("--unrated", help="Answers too of which nobody said anything.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Only what was answered from then on, in UTC.")
    ] = None,
    redact: Annotated[
        bool,
        typer.Option(
            help="Take personal data out; without, only what your own keys asked is there."
        ),
    ] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make rows of what was asked with `store`, by what people thought of the answers."""
    from specialists.training import traffic

    output, name = Output(as_json), None if specialist is None else id_of(specialist)
    asked = {"redact": redact} | ({} if since is None else {"since": since.isoformat()})
    with connect(url) as client:
        given = client.conversations(name, asked)
        made = traffic.pairs(given) if pairs else traffic.chats(given, unrated=unrated)
    target.write_bytes(made.rows)
    shown = {"rows": made.count, "left_out": dict(made.left_out), "path": str(target)}
    left_out = ", ".join(f"{count:,} {why}" for why, count in made.left_out.items())
    pairs_shown: dict[str, object] = {
        "rows": f"{made.count:,}",
        "left out": left_out or None,
        "in": target,
        "personal data": "taken out as far as its form tells it" if redact else "not taken out",
        "look first": f"myriad data check {target}",
    }
    output.show(shown, facts(pairs_shown))


def _views(found: "Findings", preview: list[tuple[str, bool]]) -> list[RenderableType]:
    minutes, seconds = divmod(round(found.seconds), 60)
    recipe = found.recipe
    pairs: dict[str, object] = {
        "rows": f"{found.rows:,}",
        "tokens": f"{found.tokens:,}, of which {found.learnt:,} are learnt",
        "training": f"{recipe.epochs} passes in batches of {recipe.batch_size}, about "
        f"{minutes}:{seconds:02} here",
        "cannot be used": _some(found.problems, "\n"),
        "repeated": _some(found.repeated),
        "other answers before": _some(found.contradictions),
        "also in validation": _some(found.leaked),
        f"over {recipe.max_tokens} tokens": _some(found.too_long),
    }
    return [facts(pairs), Text(), _histogram(found.lengths), Text(), *_preview(preview)]


def _some(places: list[str], between: str = ", ") -> str | None:
    if not places:
        return None
    rest = len(places) - SHOWN
    more = [f"and {rest:,} more"] if rest > 0 else []
    return f"{len(places):,}: " + between.join(["", *places[:SHOWN], *more]).removeprefix(", ")


def _histogram(lengths: dict[int | None, int]) -> RenderableType:
    grid = table("tokens up to", "rows", "")
    most = max(lengths.values(), default=1)
    for bound, count in lengths.items():
        add_row(grid, bound or "more", count, "█" * max(1, BAR * count // most))
    return grid


def _preview(pieces: list[tuple[str, bool]]) -> list[RenderableType]:
    """The first row; what is learnt stands in «» too, for whoever sees no colours."""
    if not pieces:
        return []
    text = Text()
    for written, learnt in pieces:
        shown = printable(written[:PREVIEW])
        text.append(f"«{shown}»" if learnt else shown, style="bold green" if learnt else "dim")
    return [Text("The first row; what is learnt is in «»:"), text]
