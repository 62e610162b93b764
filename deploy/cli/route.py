"""`myriad route`: who would answer, and why."""

from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from deploy.cli.options import AsJson, Url, connect, read_text
from deploy.cli.output import Output, add_row, facts, printable, score, table

BAR = 24
"""Characters of a probability of one."""
Decision = dict[str, Any]


def route(
    text: Annotated[str, typer.Argument(help="The request; - reads standard input.")],
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw the probabilities, and show near examples.")
    ] = False,
    owner: Annotated[list[str] | None, typer.Option(help="Only of this owner, or these.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag, or all these.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only in one of these.")] = None,
    licence: Annotated[
        list[str] | None, typer.Option("--license", help="Only under one of these.")
    ] = None,
    block: Annotated[
        list[str] | None, typer.Option(help="Never this specialist, or owner.")
    ] = None,
    prefer: Annotated[
        list[str] | None, typer.Option(help="This specialist, or owner, if it is about as likely.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The probability beside the base that it must reach."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show which specialist would answer a request, and why."""
    output = Output(as_json)
    options = {
        "owners": owner,
        "tags": tag,
        "languages": language,
        "licenses": licence,
        "blocked": block,
        "preferred": prefer,
        "threshold": threshold,
    }
    with connect(url) as client:
        decision = client.route(read_text(text), explain, options)
    said = printable(decision.get("reason") or "")
    answers = f"{printable(decision.get('specialist') or 'the base')} answers: {said}"
    views = _explained(decision) if explain else [_candidates(decision)]
    output.show(decision, *views, answers)


def _candidates(decision: Decision) -> Table:
    grid = table("candidate", "version", "score", "")
    for candidate, mark in _marked(decision):
        shown = score(_number(candidate.get("score")))
        style = "bold green" if mark else None
        add_row(
            grid, candidate.get("specialist"), candidate.get("version"), shown, mark, style=style
        )
    return grid


def _explained(decision: Decision) -> list[RenderableType]:
    """The probabilities as bars, the examples that are nearest, and what else is known."""
    bars = table("candidate", "version", "score", "", "")
    base = {"specialist": "the base", "score": decision.get("base")}
    for candidate, mark in [*_marked(decision), (base, None)]:
        value = _number(candidate.get("score")) or 0.0
        bar, style = "█" * round(BAR * value), "bold green" if mark else None
        cells = candidate.get("specialist"), candidate.get("version"), score(value), bar, mark
        add_row(bars, *cells, style=style)
    near = table("example", "of", "similarity")
    for example in decision.get("examples") or []:
        similarity = score(_number(example.get("similarity")))
        add_row(near, example.get("text"), example.get("specialist"), similarity)
    named = ("rule", "margin", "milliseconds", "generation")
    rest = facts({name: decision.get(name) for name in named})
    return [bars, near, rest] if near.row_count else [bars, rest]


def _marked(decision: Decision) -> list[tuple[Decision, str | None]]:
    chosen = decision.get("specialist")
    return [
        (each, "chosen" if each.get("specialist") == chosen else None)
        for each in decision.get("candidates") or []
    ]


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
