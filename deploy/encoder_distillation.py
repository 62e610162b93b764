"""An encoder that has learnt from a larger one, put into a folder that routers can read."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploy.encoder import FILES
from deploy.progress import Told
from router.routing.encoder import SentenceEncoder, Vectors
from router.routing.encoder_folder import ADAPTER, TOKENIZER, EncoderFolder
from specialists.training.encoder_distillation import distil, fast_products

PART = 512
"""Texts that the teacher reads between two reports."""
MAX_TOKENS = 64
"""Of a text that are learnt from: requests are short."""


def distilled(
    student: EncoderFolder,
    teacher: SentenceEncoder,
    texts: list[str],
    to: Path,
    *,
    epochs: float,
    seed: int,
    tell: Told,
) -> None:
    """Write an encoder with its adapter into a folder.

    Args:
        student: the encoder that learns, on from what it has learnt before.
        teacher: the one that it learns from.
        texts: that both read.
        to: the folder, which is made if need be, or the one that learns itself.
        epochs: how often each text is read, about.
        seed: the same gives the same adapter on one kind of processor.
        tell: is told how far it is.
    """
    vectors = _vectors(teacher, texts, tell)
    rows = _rows(student, texts)
    adapted = distil(
        _model(student), rows, vectors, epochs=epochs, begun=student.adapter, seed=seed,
        told=lambda step, steps, loss: tell("learning", step, steps, f"loss {loss:.3f}"),
    )  # fmt: skip
    adapted.peft_config[adapted.active_adapter].base_model_name_or_path = student.name
    # Half precision has more digits than the kernels' weights.
    adapted.half().save_pretrained(to / ADAPTER)
    if to.resolve() == student.path.resolve():
        return
    for name in FILES:
        if (student.path / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(student.path / name, to / name)


def _vectors(teacher: SentenceEncoder, texts: list[str], tell: Told) -> Vectors:
    parts = []
    for start in range(0, len(texts), PART):
        tell("reading", start, len(texts))
        with fast_products():
            parts.append(teacher.encode(texts[start : start + PART]))
    return np.concatenate(parts)


def _rows(student: EncoderFolder, texts: list[str]) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(student.path / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(MAX_TOKENS, student.max_tokens))
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def _model(student: EncoderFolder) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(student.path, dtype=torch.float32, local_files_only=True)
