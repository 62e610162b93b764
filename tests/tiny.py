"""A tiny random Llama that behaves like a real base: fast enough to train and serve in tests."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from specialists.base import Base

NAME = "tiny-llama"
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "How much of a raise should I ask for? Ask for a concrete number.",
    "system user assistant hello good morning, and good evening!",
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tiny_base(
    folder: Path, *, seed: int = 0, context: int = 256, pieces: bool = False, **config
) -> Base:
    """Write a random base of two layers (hidden 32, 4 query and 2 key heads) into `folder`.

    With `pieces` its tokenizer is one as SentencePiece makes them, else one of bytes as GPT-2's;
    `config` goes before the usual fields.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(context, _pieces() if pieces else _bytes())
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    _network(tokenizer, context, **config).save_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    GenerationConfig(eos_token_id=end, pad_token_id=end).save_pretrained(folder)
    return Base(NAME, folder)


def _pieces() -> Tokenizer:
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token=SPECIALS[0], fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=[*SPECIALS, *bytes_], show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    # Bytes are ordinary tokens: what they say is shown.
    state = json.loads(backend.to_str())
    state["added_tokens"] = [each for each in state["added_tokens"] if each["content"] in SPECIALS]
    return Tokenizer.from_str(json.dumps(state))


def _bytes() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def _tokenizer(context: int, backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=context,
    )


def _network(tokenizer: PreTrainedTokenizerFast, context: int, **config) -> LlamaForCausalLM:
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    fields = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": end,
        "pad_token_id": end,
        # Weights this large make greedy answers depend on the prompt.
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    return LlamaForCausalLM(LlamaConfig(**(fields | config)))
