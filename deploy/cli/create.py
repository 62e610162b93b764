"""`myriad create`: what somebody wrote and said, as a specialist that speaks for them."""

import asyncio
from dataclasses import dataclass
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
    from deploy.progress import Told
    from registry.card import Card
    from registry.persona import Persona
    from specialists.creation.creation import Created
    from specialists.creation.material import Material

ROWS, NOTEBOOK = "rows.jsonl", "answers.jsonl"
SHOWN = 20
"""Of what cannot be used, so much is named."""


def create(
    specialist: SpecialistId,
    sources: Annotated[
        list[Path],
        typer.Option(
            "--from",
            exists=True,
            help="A file or a folder; as often as you like. Markdown, text, JSON, CSV, PDF, "
            "subtitles, Character Cards.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Whose voice it is; default: as the specialist is called.")
    ] = None,
    about: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    persona: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="More of its persona, in YAML or JSON."),
    ] = None,
    avoid: Annotated[
        list[str] | None, typer.Option(help="A topic that it does not speak of.")
    ] = None,
    teacher: TeacherUrl = None,
    teacher_model: TeacherModel = "",
    questions: Annotated[
        int,
        typer.Option(
            min=0, max=20, help="For it to think of, for each passage; 0: go by titles alone."
        ),
    ] = 3,
    budget: Budget = 500_000,
    license_: Terms = None,
    effort: Annotated[Effort, typer.Option(help="How much training.")] = "standard",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Makes what is trained repeatable.")
    ] = None,
    train: Annotated[bool, typer.Option(help="Train on the rows, on the server.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a specialist from what somebody wrote and said."""
    from deploy.cli.cards import write_card
    from deploy.settings import read_settings
    from registry.card import Card
    from specialists.creation.card import fields_of, persona_of, title
    from specialists.creation.readers import read_material

    output, identity = Output(as_json), id_of(specialist)
    folder = read_settings().home / "created" / identity
    voice = name or title(identity)
    with output.told("reading") as tell:
        material = read_material(sources, voice, tell)
    given = persona_of(material, _said(persona, {"name": name, "avoids": avoid}))
    asking = whom(teacher, teacher_model, url) if questions and material.passages else None
    budgeted = _Asked(asking, folder / NOTEBOOK, budget, questions)
    with output.told("asking") as tell:
        found = asyncio.run(_created(material, given, voice, budgeted, tell))
    card = Card.of({"id": identity} | fields_of(found.persona, material, about))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ROWS).write_bytes(found.rows)
    write_card(card, folder)
    output.show(_facts(found, material, folder), *_views(found, material, folder))
    if train:
        wanted = {"effort": effort, "seed": seed}
        _train(card, folder / ROWS, found, asking, license_, wanted, url, output)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is asked, what stands in the notebook, and for how many tokens and questions."""

    whom: Whom | None
    notebook: Path
    budget: int
    questions: int


def _said(file: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """What a file says of the persona, and over it options."""
    from registry.card_text import read_fields

    fields = {} if file is None else dict(read_fields(file.read_bytes()))
    return fields | {name: value for name, value in options.items() if value}


async def _created(
    material: "Material", given: "Persona", voice: str, asked: _Asked, tell: "Told"
) -> "Created":
    from specialists.creation.creation import Asking, created

    if asked.whom is None:
        return await created(material, given, voice, None, tell)
    async with asked.whom.asked(asked.notebook, asked.budget) as teacher:

        def report(doing: str, done: int, of: int) -> None:
            tell(doing, done, of, f"{teacher.spent:,} of {asked.budget:,} tokens")

        asking = Asking(teacher, asked.questions, own_words=asked.whom.own)
        return await created(material, given, voice, asking, report)


def _train(
    card: "Card",
    rows: Path,
    found: "Created",
    asking: Whom | None,
    terms: str | None,
    wanted: dict[str, Any],
    url: str | None,
    output: Output,
) -> None:
    fields = card.model_dump(mode="json", exclude_defaults=True, exclude={"id"})
    asked: dict[str, Any] = {"specialist": card.id, "card": fields, **wanted}
    if asking is not None and found.interview is not None:
        interview = found.interview
        asked["teacher"] = asking.learnt_from(terms, interview.tokens, interview.rejection_rate)
    with connect(url) as client:
        asked |= {"model": client.base(), "training_file": client.send(rows)["id"]}
        followed(client, asked, output)


def _facts(found: "Created", material: "Material", folder: Path) -> dict[str, Any]:
    interview = found.interview
    return {
        "event": "created",
        "rows": found.count,
        "sources": found.sources,
        "passages": len(material.passages),
        "exchanges": len(material.exchanges),
        "unused": list(material.unused),
        "untitled": found.untitled,
        "rejected": dict(interview.rejected) if interview else {},
        "stopped": interview.stopped if interview else None,
        "persona": found.persona.model_dump(mode="json", exclude_defaults=True),
        "folder": str(folder),
    }


def _views(found: "Created", material: "Material", folder: Path) -> list[RenderableType]:
    interview, persona = found.interview, found.persona
    rejected = interview.rejected.items() if interview else ()
    left_out = [*rejected, ("without a title", found.untitled)]
    rest = len(material.unused) - SHOWN
    more = [f"and {rest:,} more"] if rest > 0 else []
    pairs: dict[str, object] = {
        "found": f"{len(material.exchanges):,} answers, {len(material.passages):,} passages",
        "left out": ", ".join(f"{count} {why}" for why, count in left_out if count) or None,
        "stopped": interview.stopped if interview else None,
        "not used": "\n".join([*material.unused[:SHOWN], *more]) or None,
        "rows": f"{found.count:,}, from {found.sources:,} places",
        "speaks for": persona.name,
        "greets": persona.greeting,
        "may be asked": "\n".join(persona.starters) or None,
        "to look at": f"{folder / ROWS}\n{folder / 'card.yaml'}",
    }
    return [facts(pairs)]
