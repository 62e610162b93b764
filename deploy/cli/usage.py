"""`myriad usage`: how much was asked, and of whom."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, add_row, table

DAY_SECONDS = 86_400
COUNTS = {
    "requests": "num_model_requests",
    "prompt": "input_tokens",
    "cached": "input_cached_tokens",
    "completion": "output_tokens",
}
"""Columns, and what the API calls them."""


class By(StrEnum):
    """What amounts are told apart by; the API's names."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"
    OWNER = "owner"

    @property
    def field(self) -> str:
        """What the API calls it."""
        return {By.KEY: "api_key_id", By.OWNER: "project_id"}.get(self, self.value)


def usage(
    specialist: Annotated[
        str | None,
        typer.Argument(metavar="OWNER/NAME", help="What all asked of a specialist of yours."),
    ] = None,
    by: Annotated[
        By | None, typer.Option(help="Tell amounts apart by this; default: model, or day.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="Of so many days, today too.")] = 30,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show how many requests and tokens your keys used, or a specialist of yours answered."""
    if specialist is not None and by not in (None, By.DAY):
        raise typer.BadParameter("what a specialist answered is told apart by day alone")
    output = Output(as_json)
    by = by or (By.MODEL if specialist is None else By.DAY)
    group = [] if by is By.DAY else [by.field]
    since = (int(time.time()) // DAY_SECONDS - days + 1) * DAY_SECONDS
    with connect(url) as client:
        buckets = list(client.usage(since, group, specialist))
    output.show(buckets, _grid(buckets, by))


def _grid(buckets: list[dict[str, Any]], by: By) -> Table | str:
    """Sums: of days in their order, of others whoever used most first."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, result in _results(buckets, by):
        sums[name].update({column: result[field] for column, field in COUNTS.items()})
    if not sums:
        return "Nothing was used."
    grid = table(by, *COUNTS)
    for column in grid.columns[1:]:
        column.justify = "right"
    most = sorted(sums, key=lambda name: -sums[name]["prompt"] - sums[name]["completion"])
    for name in sums if by is By.DAY else most:
        add_row(grid, name, *(f"{sums[name][column]:,}" for column in COUNTS))
    return grid


def _results(buckets: list[dict[str, Any]], by: By) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each result, and the name that it is told apart by."""
    for bucket in buckets:
        day = datetime.fromtimestamp(bucket["start_time"], UTC).date().isoformat()
        for result in bucket["results"]:
            nameless = "all others" if result.get("rest") else "nobody's"
            yield (day if by is By.DAY else result[by.field] or nameless), result
