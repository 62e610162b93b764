"""Tiny, random encoders in folders, as sentence-transformers writes them."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel

from router.routing.encoder_folder import WEIGHTS

WORDS = ["[PAD]", "[UNK]", "rain", "in", "oslo", "sun", "rome", "and", "more", "[CLS]"]
SIZES = {
    "hidden_size": 384,
    "num_hidden_layers": 1,
    "num_attention_heads": 12,
    "intermediate_size": 64,
    "max_position_embeddings": 300,
    "type_vocab_size": 1,
}


def tiny_encoder(folder: Path, kind: str = "bert", **changed) -> Path:
    """An encoder in a folder, as sentence-transformers would write it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=len(WORDS), pad_token_id=0, **SIZES | changed)
    config.save_pretrained(folder)
    weights = AutoModel.from_config(config).state_dict()
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / WEIGHTS)
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 9)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
