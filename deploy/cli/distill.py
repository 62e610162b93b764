"""`myriad distill`: what a larger model can do, in a specialist."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from deploy.cli.jobs import followed
from deploy.cli.options import AsJson, SpecialistId, Url, connect, id_of
from deploy.cli.output import Output, facts
from deploy.cli.teachers import Budget, TeacherModel, TeacherUrl, Terms, Whom, whom
from registry.effort import Effort

if TYPE_CHECKING:
    from specialists.training.distillation import Distilled, Wanted

ROWS, NOTEBOOK = "rows.jsonl", "answers.jsonl"


def distill(
    specialist: SpecialistId,
    teacher: TeacherUrl = None,
    teacher_model: TeacherModel = "",
    server_teacher: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Have the server ask one of those that it knows."),
    ] = None,
    brief: Annotated[
        str | None,
        typer.Option(help="Instructions, or a file of them, that the specialist shall follow."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Requests to answer, one per line."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Requests; default: those in --prompts, or 200."),
    ] = None,
    budget: Budget = 500_000,
    judge: Annotated[
        bool | None,
        typer.Option(
            "--judge/--no-judge",
            help="Have the teacher judge its answers, and leave poor ones out; default: unless it "
            "is the base.",
        ),
    ] = None,
    license_: Terms = None,
    effort: Annotated[Effort, typer.Option(help="How much training.")] = "standard",
    train: Annotated[bool, typer.Option(help="Train on the rows, on the server.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have a model think of requests and answer them, and train a specialist on the answers.

    Of the base that is served its thoughts are learnt, and not its words alone.
    """
    from deploy.settings import read_settings
    from specialists.training.distillation import Wanted

    output, settings, name = Output(as_json), read_settings(), id_of(specialist)
    told, asked = _brief(brief), _requests(prompts)
    if told is None and (not asked or (teacher or server_teacher) is None):
        raise typer.BadParameter("say what it shall do: --brief TEXT, or --prompts FILE")
    given: dict[str, Any] = {"specialist": name, "description": told and told[:2000]}
    given["effort"] = effort
    if server_teacher is not None:
        wish: dict[str, Any] = {"teacher": server_teacher, "brief": told, "prompts": asked}
        wish |= {"count": count, "budget": budget, "judge": judge}
        with connect(url) as client:
            followed(client, given | {"model": client.base(), "distillation": wish}, output)
        return
    asking = whom(teacher, teacher_model, url)
    judged = judge if judge is not None else not asking.own
    wanted = Wanted(told, count or len(asked) or 200, judged=judged)
    folder = settings.home / "distilled" / name
    with output.told("asking") as tell:
        found = asyncio.run(_distilled(asking, budget, wanted, asked, folder, tell))
    rows = folder / ROWS
    rows.write_bytes(found.rows)
    output.show({"event": "distilled", **_facts(found), "rows": str(rows)}, *_views(found, rows))
    if not train:
        return
    learnt = asking.learnt_from(license_, found.tokens, found.rejection_rate)
    given |= {"instruction": told} if asking.own else {}
    with connect(url) as client:
        sent = {"model": client.base(), "training_file": client.send(rows)["id"]}
        followed(client, given | sent | {"teacher": learnt}, output)


async def _distilled(
    asking: Whom,
    budget: int,
    wanted: "Wanted",
    requests: list[str],
    folder: Path,
    tell: Any,
) -> "Distilled":
    from specialists.training.distillation import distil

    async with asking.asked(folder / NOTEBOOK, budget) as teacher:

        def report(doing: str, done: int, of: int) -> None:
            tell(doing, done, of, f"{teacher.spent:,} of {budget:,} tokens")

        return await distil(teacher, wanted, requests, report)


def _brief(text: str | None) -> str | None:
    """The instructions as given, or what the file of that name holds."""
    if text is None:
        return None
    try:
        found = Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text
    except (OSError, ValueError):
        found = text
    if not found.strip():
        raise typer.BadParameter("the brief is empty")
    return found.strip()


def _requests(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} cannot be read as UTF-8 text: {error}") from None
    return [line.strip() for line in lines if line.strip()]


def _facts(found: "Distilled") -> dict[str, Any]:
    return {
        "kept": found.kept,
        "rejected": found.rejected,
        "tokens": found.tokens,
        "stopped": found.stopped,
    }


def _views(found: "Distilled", rows: Path) -> list[RenderableType]:
    rejected = ", ".join(f"{count} {reason}" for reason, count in found.rejected.items())
    pairs: dict[str, object] = {
        "kept": f"{found.kept:,} answers",
        "left out": rejected or None,
        "the teacher took": f"{found.tokens:,} tokens",
        "stopped": found.stopped,
        "rows": rows,
    }
    return [facts(pairs)]
