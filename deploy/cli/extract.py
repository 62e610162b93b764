"""`myriad extract`: a whole fine-tuned model as an adapter."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.elsewhere import model_folder
from deploy.cli.options import AsJson
from deploy.cli.output import Output, printable
from deploy.cli.train import prepared
from deploy.quiet import quiet

if TYPE_CHECKING:
    from specialists.extraction import Extracted

LITTLE = 0.5
"""Share of what a fine-tuned model learnt below which an adapter of it is hardly that model."""


def extract(
    tuned: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="A model that was fine-tuned from the base, in transformers' layout; or a hub's "
            "OWNER/NAME, or OWNER/NAME@REVISION.",
        ),
    ],
    output_folder: Annotated[
        Path, typer.Argument(metavar="OUTPUT", file_okay=False, help="Folder of the adapter.")
    ],
    rank: Annotated[int, typer.Option(min=1, max=256, help="Size of the adapter.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Make an adapter of what a whole fine-tuned model has learnt."""
    from deploy.settings import read_settings
    from specialists import extraction

    output, settings = Output(as_json), read_settings()
    with quiet():
        base = prepared(settings, output)
        folder = model_folder(tuned, output)
        with output.told() as tell:
            found = extraction.extract(base, folder, output_folder, rank, tell)
    _take_card(folder, output_folder)
    output.show(asdict(found) | {"folder": str(output_folder)}, *_described(found, output_folder))


def _take_card(folder: Path, to: Path) -> None:
    """Its model card goes with it: what it is for, and under which licence."""
    from deploy.cli.cards import MODEL_CARD

    if (folder / MODEL_CARD).is_file():
        shutil.copyfile(folder / MODEL_CARD, to / MODEL_CARD)


def _described(found: "Extracted", folder: Path) -> list[str]:
    kept, linears = f"{found.kept:.0%}", found.linears
    said = [f"{folder} has {kept} of what {linears} linears gained, in rank {found.rank}"]
    if found.kept < LITTLE:
        said.append(
            "That is little: a higher --rank keeps more, unless it was tuned from other weights "
            "than these (MYRIAD_BASE names them)."
        )
    if found.left_out:
        more = f" and {len(found.left_out) - 1} more" if len(found.left_out) > 1 else ""
        said.append(f"Changed too, and left out: {printable(found.left_out[0])}{more}.")
    return [*said, f"put it into service: myriad specialists register OWNER/NAME {folder}"]
