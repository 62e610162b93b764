"""An encoder's network: token ids to mean hidden states. Here in torch, the reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder_folder import WEIGHTS, EncoderError

BATCH = 32
POOLER = "pooler."
"""What comes after the hidden states, in the names of weights; nobody here looks at it."""

Means = NDArray[np.float32]


class Network(Protocol):
    """The means of an encoder's hidden states over each text's tokens. Safe to use from threads."""

    @property
    def layers(self) -> int:
        """How many there are, the embeddings not counted."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of every hidden state."""
        ...

    def means(self, texts: Sequence[Sequence[int]], layers: Sequence[int]) -> Means:
        """Mean hidden states, float32 [texts, layers, dimensions].

        Args:
            texts: each one's tokens, at least one.
            layers: whose output, ascending; 0 is the embeddings'.
        """
        ...


class TorchEncoder:
    """transformers' model of a folder, in batches of texts of like length."""

    def __init__(self, folder: Path, threads: int | None = 1, adapter: Path | None = None) -> None:
        """Load config.json and model.safetensors of a folder.

        Args:
            folder: where they are.
            adapter: folder of an adapter for them, as PEFT writes it.
            threads: Cores that one call may use, a setting of the whole process; None leaves
                torch's own choice. On a busy machine one is far faster than all: the threads of
                a short text would mostly wait for each other.

        Raises:
            EncoderError: the file lacks weights.
        """
        import torch
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoModel

        if threads is not None:
            torch.set_num_threads(threads)
        self._torch = torch
        config = AutoConfig.from_pretrained(folder)
        self.layers = int(config.num_hidden_layers)
        self.dimensions = int(config.hidden_size)
        self._padding = int(config.pad_token_id or 0)
        # Not from_pretrained, which draws a progress bar and reports what is not used.
        self._model: Any = AutoModel.from_config(config, dtype=torch.float32)
        loaded = self._model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        missing = [name for name in loaded.missing_keys if not name.startswith(POOLER)]
        if missing:
            raise EncoderError(f"{folder / WEIGHTS} lacks {len(missing)} weights: {missing[0]}, …")
        if adapter is not None:
            from peft import PeftModel

            self._model = PeftModel.from_pretrained(self._model, adapter).merge_and_unload()
        self._model.eval()

    def means(self, texts: Sequence[Sequence[int]], layers: Sequence[int]) -> Means:
        """Mean hidden states, float32 [texts, layers, dimensions]."""
        found = np.empty((len(texts), len(layers), self.dimensions), dtype=np.float32)
        # Rows of like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            found[batch] = self._means([texts[row] for row in batch], layers)
        return found

    def _means(self, rows: Sequence[Sequence[int]], layers: Sequence[int]) -> Means:
        torch = self._torch
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[self._padding] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.inference_mode():
            out = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            hidden = torch.stack([out.hidden_states[layer] for layer in layers], dim=1)
            weights = mask[:, None, :, None]
            means: Means = ((hidden * weights).sum(2) / weights.sum(2)).numpy()
        return means
