"""`myriad eval`: how good a version's answers are, beside others'."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, add_row, facts, table

if TYPE_CHECKING:
    from specialists.training.comparison import Compared
    from specialists.training.data import Row


def eval_(
    model: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE", help="Whom to ask, such as owner/name or owner/name@2."
        ),
    ],
    data: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Rows that it did not learn from.")
    ],
    against: Annotated[
        list[str] | None, typer.Option(help="Another to ask, beside the bare base; repeatable.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenAI base URL of a model that says which is better."),
    ] = None,
    judge_model: Annotated[str, typer.Option(help="Its name there.")] = "auto",
    save: Annotated[
        bool, typer.Option("--save", help="Note the scores of owner/name@NUMBER, for its gates.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Answer held-out rows as a version, as the bare base, and as others, and score that."""
    from deploy.cli.options import numbered
    from registry.digests import digest_file
    from specialists.training.data import read_rows

    output, rows = Output(as_json), read_rows(data)
    version = numbered(model) if save else None
    with connect(url) as client:
        names = list(dict.fromkeys([model, *(against or ()), client.base() or ""]))
        with output.told("answering") as tell:
            server = f"{client.url}/v1", client.key
            found = asyncio.run(_compared(server, names, rows, (judge, judge_model), tell))
        if version is not None:
            scores = _scores(found, model, names[-1], digest_file(data))
            client.score(*version, scores)
    output.show(asdict(found), *_views(found, names))


async def _compared(
    server: tuple[str, str | None],
    names: list[str],
    rows: "list[Row]",
    judge: tuple[str | None, str],
    tell: Any,
) -> "Compared":
    from deploy.settings import read_settings, revealed
    from specialists.training.comparison import compare
    from specialists.training.notebook import Notebook
    from specialists.training.teacher import Teacher

    (url, key), (judge_url, judge_model) = server, judge
    async with AsyncExitStack() as stack:

        async def asked(where: str, name: str, key: str | None) -> Teacher:
            return await stack.enter_async_context(Teacher(where, name, Notebook(), key=key))

        models = {name: await asked(url, name, key) for name in names}
        judging = None
        if judge_url is not None:
            judging = await asked(judge_url, judge_model, revealed(read_settings().teacher_key))
        return await compare(models, rows, judging, tell)


def _scores(found: "Compared", model: str, base: str, data: str) -> list[dict[str, Any]]:
    return [
        {
            "metric": metric,
            "value": own[model].value,
            "base_value": own[base].value,
            "rows": found.rows,
            "data": data,
        }
        for metric, own in found.figures.items()
    ]


def _views(found: "Compared", names: list[str]) -> list[RenderableType]:
    grid = table("held-out score", *names)
    for metric, own in found.figures.items():
        add_row(grid, metric, *(_shown(own[name]) for name in names))
    for name, share in found.wins.items():
        add_row(grid, f"preferred to {name}", _shown(share))
    left_out = f"{found.left_out} with tools" if found.left_out else None
    return [grid, facts({"rows": found.rows, "left out": left_out})]


def _shown(estimate: Any) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
