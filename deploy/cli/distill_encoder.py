"""`myriad distill-encoder`: the router's encoder learns from a larger one."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import AsJson
from deploy.cli.output import Output
from deploy.errors import InvalidSetting
from deploy.quiet import quiet

LEAST = 2
"""Texts, since only what is nearer than another can be learnt."""


def distill_encoder(
    texts: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Requests, one a line."),
    ],
    output_folder: Annotated[
        Path, typer.Argument(metavar="OUTPUT", file_okay=False, help="Folder of the encoder.")
    ],
    teacher: Annotated[
        str,
        typer.Option(metavar="ENCODER", help="The larger one: a folder, or a hub's OWNER/NAME."),
    ],
    epochs: Annotated[float, typer.Option(min=0, help="How often each text is read.")] = 2.0,
    seed: Annotated[int, typer.Option(help="The same gives the same adapter.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Teach the encoder that `auto` routes by what a larger one knows, on your own requests."""
    from deploy.encoder import encoder_folder, open_encoder
    from deploy.encoder_distillation import distilled
    from deploy.settings import read_settings
    from specialists.machine import cores

    output, settings = Output(as_json), read_settings()
    read = _distinct(texts)
    with quiet(), output.told() as tell:
        student = encoder_folder(settings.router.encoder, tell)
        large = open_encoder(cores(), teacher)
        distilled(student, large, read, output_folder, epochs=epochs, seed=seed, tell=tell)
    output.show(
        {"folder": str(output_folder), "texts": len(read), "teacher": large.name},
        f"{output_folder} has learnt of {large.name} from {len(read)} texts",
        f"route by it: MYRIAD_ROUTER__ENCODER={output_folder} myriad up",
    )


def _distinct(file: Path) -> list[str]:
    """The texts of a file, each once."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidSetting(f"{file} is no text in UTF-8") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(found) < LEAST:
        raise InvalidSetting(
            f"{file} has {len(found)} texts; {LEAST} are needed, and thousands help"
        )
    return found
