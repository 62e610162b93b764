"""Checkpoints: all that a run of training is at one step, so that another can go on from it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load, save

Weights = dict[str, torch.Tensor]
NUMBERS = ("step", "tokens", "losses", "validation")
PARTS = ("weights", "first", "second", "best")


class Keeper(Protocol):
    """Where a run's last checkpoint is kept."""

    def read(self) -> bytes | None:
        """The last checkpoint; None before there is one."""

    def write(self, checkpoint: bytes) -> None:
        """Put a checkpoint in the place of the last one, whole or not at all."""


class Forgetful:
    """Keeps nothing."""

    def read(self) -> bytes | None:
        """Nothing was kept."""
        return None

    def write(self, checkpoint: bytes) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class InFile:
    """Keeps a checkpoint in a file."""

    file: Path

    def read(self) -> bytes | None:
        """The file's content, if there is one."""
        return self.file.read_bytes() if self.file.is_file() else None

    def write(self, checkpoint: bytes) -> None:
        """Write the file beside its place, then put it there."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        draft.write_bytes(checkpoint)
        draft.replace(self.file)


@dataclass
class Checkpoint:
    """A run at a step.

    Attributes:
        run: what tells this run from others: a digest of its data and recipe.
        step: steps that were made.
        weights: the adapter's.
        first: Adam's running mean of the gradients, by the names of the weights.
        second: Adam's running mean of their squares.
        best: the weights with the lowest validation loss; empty without validation.
        tokens: that were read so far.
        losses: of each step.
        validation: the loss over the validation rows after each epoch.
    """

    run: str
    step: int = 0
    tokens: int = 0
    weights: Weights = field(default_factory=dict)
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)
    best: Weights = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """As a safetensors file, whose metadata has all that is no tensor."""
        tensors = {
            f"{part}.{name}": tensor
            for part in PARTS
            for name, tensor in getattr(self, part).items()
        }
        numbers = {name: getattr(self, name) for name in NUMBERS}
        content: bytes = save(tensors, {"run": self.run, "numbers": json.dumps(numbers)})
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> "Checkpoint":
        """What `to_bytes` wrote.

        Raises:
            ValueError: it was written by nothing of the kind.
        """
        try:
            metadata = _metadata(content)
            tensors = load(content)
            numbers = json.loads(metadata["numbers"])
            parts: dict[str, Any] = {part: _part(tensors, part) for part in PARTS}
            return cls(metadata["run"], **numbers, **parts)
        except Exception as error:
            raise ValueError(f"this is no checkpoint: {error}") from error


def _metadata(content: bytes) -> Mapping[str, str]:
    # safetensors reads metadata from files only: https://github.com/huggingface/safetensors#format
    length = int.from_bytes(content[:8], "little")
    found: Mapping[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def _part(tensors: Weights, part: str) -> Weights:
    return {
        name.removeprefix(f"{part}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}.")
    }
