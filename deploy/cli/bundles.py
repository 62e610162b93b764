"""`myriad specialists export` and `import`: a version as one file, or as a folder."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from deploy.cli.options import AsJson, Numbered, Url, connect, numbered
from deploy.cli.output import Output
from registry.view import Visibility

if TYPE_CHECKING:
    from registry.card import Card

README = """---
{head}---

# {name}

{description}

A LoRA adapter for {base}, for [PEFT](https://huggingface.co/docs/peft).
"""


def export(
    version: Numbered,
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write: a file ending in .tar, for `import`; one ending in .json or .png, "
            "a Character Card; or a new folder for PEFT and the Hugging Face Hub."
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A PNG for the Character Card to be in."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a version with you: its card, its private examples too, and its adapter."""
    output = Output(as_json)
    name, number = numbered(version)
    with tempfile.TemporaryDirectory(dir=_parent(target)) as scratch:
        bundle = Path(scratch, "bundle.tar")
        with connect(url) as client:
            client.export(name, number, bundle)
        match target.suffix:
            case ".tar":
                bundle.replace(target)
            case ".json" | ".png":
                _as_character(bundle, Path(scratch), target, number, picture)
            case _:
                _as_folder(bundle, target)
    output.show({"version": version, "path": str(target)}, f"{target} holds {version}")


def import_(
    bundle: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What export wrote.")],
    specialist: Annotated[
        str | None,
        typer.Option("--as", metavar="OWNER/NAME", help="Another name than it had."),
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="What points to it; default: prod, if the content is new.")
    ] = None,
    visibility: Annotated[
        Visibility | None, typer.Option(help="Who finds it besides its owner; default: private.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register a version from a bundle; under its own name it keeps its digest."""
    from deploy.cli.specialists import registered, send

    output = Output(as_json)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        card = _unpacked(bundle, folder)
        fields = card.model_dump(mode="json", exclude_defaults=True)
        with connect(url) as client:
            made = send(client, fields | {"id": specialist or card.id}, folder, alias, visibility)
    output.show(made, registered(made, specialist or card.id))


def _unpacked(bundle: Path, folder: Path) -> "Card":
    from registry.bundle import CARD, unpack
    from registry.card import Card
    from registry.limits import Limits

    unpack(bundle, folder, Limits())
    return Card.parse((folder / CARD).read_bytes())


def _as_folder(bundle: Path, folder: Path) -> None:
    from deploy.cli.cards import write_card
    from registry.bundle import CARD

    folder.mkdir(parents=True)
    card = _unpacked(bundle, folder)
    (folder / CARD).unlink()
    write_card(card, folder)
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")


def _as_character(
    bundle: Path, scratch: Path, target: Path, number: int, picture: Path | None
) -> None:
    """Write a Character Card, which has no adapter."""
    from specialists.creation.character_card import in_picture, written

    found = written(_unpacked(bundle, scratch), number)
    if target.suffix == ".json":
        target.write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding="utf-8")
        return
    if picture is None:
        raise typer.BadParameter("say which picture it shall be in: --picture FILE.png")
    try:
        target.write_bytes(in_picture(picture.read_bytes(), found))
    except ValueError as error:
        raise typer.BadParameter(f"{picture} {error}") from None


def _readme(card: "Card") -> str:
    """A model card as the Hub reads it: https://huggingface.co/docs/hub/model-cards."""
    head: dict[str, Any] = {"library_name": "peft", "pipeline_tag": "text-generation"}
    told = {"license": card.license, "language": card.language, "base_model": card.base}
    head |= {key: value for key, value in told.items() if value} | {"tags": ["lora", *card.tags]}
    text = yaml.safe_dump(head, allow_unicode=True, sort_keys=False)
    base = card.base or "a Llama base"
    return README.format(head=text, name=card.id, description=card.description, base=base)


def _parent(target: Path) -> Path:
    if target.exists():
        raise typer.BadParameter(f"{target} is there already")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.parent
