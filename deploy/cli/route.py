"""`myriad route`: who would answer, and why."""

from typing import Annotated

import typer
from rich.table import Table

from deploy.cli.options import AsJson, Url, connect, read_text
from deploy.cli.output import Output, add_row, printable, score, table


def route(
    text: Annotated[str, typer.Argument(help="The request; - reads standard input.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show which specialist would answer a request, and why."""
    output = Output(as_json)
    with connect(url) as client:
        decision = client.route(read_text(text))
    chosen = decision.get("specialist")
    output.show(
        decision,
        _candidates(decision.get("candidates") or [], chosen),
        f"{printable(chosen or 'the base')} answers: {printable(decision.get('reason') or '')}",
    )


def _candidates(candidates: list[dict[str, object]], chosen: object) -> Table:
    grid = table("candidate", "version", "score", "")
    for candidate in candidates:
        specialist = candidate.get("specialist")
        value = candidate.get("score")
        mark = "chosen" if specialist == chosen else None
        shown = score(value) if isinstance(value, int | float) else None
        style = "bold green" if mark else None
        add_row(grid, specialist, candidate.get("version"), shown, mark, style=style)
    return grid
