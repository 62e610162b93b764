"""The two files that an adapter is, as PEFT names them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Where an adapter's two files lie."""

    config: Path
    weights: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Those of a plain PEFT folder."""
        return cls(folder / CONFIG, folder / WEIGHTS)

    def copied_into(self, folder: Path) -> Self:
        """The same as a plain PEFT folder, wherever they lie and whatever they are called there."""
        there = self.in_folder(folder)
        shutil.copyfile(self.config, there.config)
        shutil.copyfile(self.weights, there.weights)
        return there

    def missing(self) -> list[str]:
        """Names of those that are not there."""
        return [file.name for file in (self.config, self.weights) if not file.is_file()]
