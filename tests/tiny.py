"""A tiny random Llama that behaves like a real base: fast enough to train and serve in tests."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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


def tiny_base(folder: Path, *, seed: int = 0, context: int = 256) -> Base:
    """Write a random base of two layers (hidden 32, 4 query and 2 key heads) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(context)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    _network(tokenizer, context).save_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    GenerationConfig(eos_token_id=end, pad_token_id=end).save_pretrained(folder)
    return Base(NAME, folder)


def _tokenizer(context: int) -> PreTrainedTokenizerFast:
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
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=context,
    )


def _network(tokenizer: PreTrainedTokenizerFast, context: int) -> LlamaForCausalLM:
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=end,
        pad_token_id=end,
        # Weights this large make greedy answers depend on the prompt.
        initializer_range=0.2,
        tie_word_embeddings=True,
        dtype="float32",
    )
    return LlamaForCausalLM(config)
