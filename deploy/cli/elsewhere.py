"""What others trained: adapters and models, here or on a hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from deploy.cli.output import Output
from registry.files import CONFIG, WEIGHTS


def model_folder(place: str, output: Output) -> Path:
    """The folder of a model at `place`, or what a hub has under that name."""
    from deploy.cli.cards import MODEL_CARD
    from specialists.base import AGAIN

    return _here_or_fetched(place, ("*.safetensors", MODEL_CARD), output, AGAIN)


def adapter_folder(place: str, output: Output) -> Path:
    """The folder of an adapter at `place`, or what a hub has under that name."""
    from deploy.cli.cards import FILES, MODEL_CARD
    from specialists import mlx_adapter

    files = (CONFIG, WEIGHTS, mlx_adapter.WEIGHTS, MODEL_CARD, *FILES)
    return _here_or_fetched(place, files, output)


def _here_or_fetched(
    place: str, files: Sequence[str], output: Output, without: Sequence[str] = ()
) -> Path:
    from specialists.hub import fetch, is_of_hub

    folder = Path(place)
    if folder.is_dir():
        return folder
    if not is_of_hub(place):
        raise typer.BadParameter(f"{place} is no folder, and no id of a hub")
    with output.told("fetching") as tell:
        return fetch(place, files, tell, without)


@contextmanager
def of_peft(folder: Path) -> Iterator[Path]:
    """A folder with the adapter as PEFT saves it: the same, or one for as long as it is needed."""
    from specialists import mlx_adapter

    if not mlx_adapter.is_of_mlx(folder):
        yield folder
        return
    with TemporaryDirectory() as made:
        mlx_adapter.to_peft(folder, Path(made))
        yield Path(made)
