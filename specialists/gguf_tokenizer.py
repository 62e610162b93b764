"""The tokenizer in a GGUF file, as transformers reads it, put right to the last token.

transformers reads the vocabulary, its merges and how Llama 3 cuts text. It leaves out the flags
that llama.cpp knows each kind of vocabulary by (`llama-vocab.cpp`).
"""

import json
from typing import Any

from specialists.errors import BaseUnavailable
from specialists.gguf_file import GGUFFile

PIECES = "llama"
"""Tokens are pieces of text, as SentencePiece has them; else bytes, in GPT-2's alphabet."""
DIGITS = "smollm"
"""Each digit stands alone; else text is cut as for GPT-2."""
AS_GPT_2 = ("gpt-2", "mpt", "olmo", "jais")
WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "tekken")
"""A word that is a token is that one whatever the merges say, and a text has a first token."""
PARTS = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "pad_token": "padding",
}
CONTROL = 3
ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>")
"""Control tokens that end an answer, whether or not the file names them for it."""
END_FIELDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read_tokenizer(file: GGUFFile) -> Any:
    """The file's tokenizer, of transformers.

    Raises:
        BaseUnavailable: the file has none, or cuts text in a way that is not known here.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    kind, cut = _told(file, "model"), _told(file, "pre")
    if kind != PIECES and cut not in (DIGITS, *AS_GPT_2, *WHOLE_WORDS):
        raise BaseUnavailable(
            f"{file.path} has a vocabulary of the kind {kind!r} and cuts text as {cut!r}, which is "
            "not known here: give the folder in transformers' layout"
        )
    read = AutoTokenizer.from_pretrained(file.path.parent, gguf_file=file.path.name)
    backend = _within(read.backend_tokenizer, len(_told(file, "tokens")))
    if kind == PIECES:
        _begin_with_space(backend, _told(file, "add_space_prefix", True))
    elif cut == DIGITS:
        _cut_digits(backend)
    elif cut in WHOLE_WORDS:
        backend.model.ignore_merges = True
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **_named(file))
    tokenizer.chat_template = _templates(file)
    tokenizer.add_bos_token = _told(file, "add_bos_token", kind == PIECES or cut in WHOLE_WORDS)
    return tokenizer


def end_tokens(file: GGUFFile) -> list[int]:
    """All tokens that end an answer."""
    named = {_told(file, field) for field in END_FIELDS} - {None}
    kinds, tokens = _told(file, "token_type", []), _told(file, "tokens")
    known = {token for token, kind in enumerate(kinds) if kind == CONTROL and tokens[token] in ENDS}
    return sorted(named | known)


def _within(backend: Any, count: int) -> Any:
    """A tokenizer without what transformers adds where a file does not name an unknown token."""
    from tokenizers import Tokenizer

    state = json.loads(backend.to_str())
    state["added_tokens"] = [each for each in state["added_tokens"] if each["id"] < count]
    return Tokenizer.from_str(json.dumps(state))


def _named(file: GGUFFile) -> dict[str, str]:
    """The tokens that have a part to play, as transformers calls the parts."""
    found = {part: _told(file, f"{field}_token_id") for part, field in PARTS.items()}
    tokens = _told(file, "tokens")
    return {part: tokens[token] for part, token in found.items() if token is not None}


def _templates(file: GGUFFile) -> str | dict[str, str] | None:
    """The chat template, or several by name, of which transformers knows `tool_use`."""
    plain: str | None = file.value("tokenizer.chat_template")
    others = file.value("tokenizer.chat_templates") or []
    if plain is None or not others:
        return plain
    named = {name: file.value(f"tokenizer.chat_template.{name}") for name in others}
    return {"default": plain} | named


def _told(file: GGUFFile, name: str, default: Any = None) -> Any:
    return file.value(f"tokenizer.ggml.{name}", default)


def _begin_with_space(backend: Any, wanted: bool) -> None:
    # transformers adds the space only where a text has none of its own.
    from tokenizers import normalizers

    spaces = normalizers.Replace(" ", "▁")
    first = [normalizers.Prepend("▁")] if wanted else []
    backend.normalizer = normalizers.Sequence([*first, spaces])
    backend.pre_tokenizer = None


def _cut_digits(backend: Any) -> None:
    # Without it, white space before digits is cut in other places than in training.
    from tokenizers import pre_tokenizers

    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
