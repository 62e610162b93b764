"""The demo specialists to measure with: their held-out requests, and an engine for them."""

from deploy.demos import EXAMPLES
from registry.files import AdapterFiles
from specialists.base import Base
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Runner
from specialists.training.data import Row, read_rows


def heldout() -> dict[str, list[Row]]:
    """Each demo specialist's requests, with the answers that are wanted."""
    return {
        folder.name: read_rows(folder / "heldout.jsonl")
        for folder in sorted(EXAMPLES.iterdir())
        if (folder / "heldout.jsonl").is_file()
    }


def engine(base: Base, options: EngineOptions, max_waiting: int) -> Runner:
    """An engine that finds the demos' adapters by their names."""
    return Runner.from_folder(
        base.folder,
        lambda name: AdapterFiles.in_folder(EXAMPLES / name / "adapter"),
        options,
        max_waiting=max_waiting,
    )
