"""`myriad feedback`: say what you think of an answer."""

from typing import Annotated

import typer

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output
from registry.rating import Rating


def feedback(
    answer: Annotated[str, typer.Argument(metavar="ID", help="The answer's id, chatcmpl-….")],
    rating: Annotated[Rating, typer.Argument(help="What you think of it.")],
    correction: Annotated[str | None, typer.Option(help="What it should have been.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Rate an answer; a version on trial that is called bad too often is taken back."""
    output = Output(as_json)
    fields = {"id": answer, "rating": rating, "correction": correction}
    with connect(url) as client:
        done = client.rate(fields)
    who = f"{done['specialist']}@{done['version']}" if done["specialist"] else "the base"
    output.show(done, f"{who}: {done['rating']}")
