"""How fast is the engine's step on a GPU, against the plain torch path, PEFT, and the limit?

On random weights of a Llama's shape: what they say does not matter here. Every figure is a median
of alternating rounds; the limit is what the GPU takes to read the base's weights, by the bandwidth
that a copy reaches in the same run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.adapters import random_adapter
from benchmarks.engine import Case, Ours, finder
from benchmarks.report import Row, alternating, show, write_json
from deploy.settings import read_settings
from specialists.base import Base, locate_base
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.gpu.llama import GpuLlama
from specialists.engine.gpu.network import GpuNetwork
from specialists.engine.llama import Llama
from specialists.engine.network import Network
from specialists.engine.text import Tokenizer
from specialists.engine.torch_network import TorchNetwork

SHAPES = {
    "135m": (576, 1536, 30, 9, 3, 49_152),
    "1b": (2048, 8192, 16, 32, 8, 128_256),
    "8b": (4096, 14_336, 32, 32, 8, 128_256),
}
"""Hidden and inner size, layers, heads, key heads and vocabulary: SmolLM2's, Llama 3.2's, 3.1's."""
ROWS, RANK = 32, 16
ROOM = EngineOptions(device="cuda", slot_bytes=16 << 30, kv_bytes=4 << 30, step_tokens=2048)
NAMES = tuple(map(str, range(ROWS)))
CASES = {
    "1 row": Case(1),
    "1 row, adapter": Case(1, NAMES[:1]),
    "32 rows": Case(ROWS),
    "32 rows, 32 of rank 16": Case(ROWS, NAMES),
    "32 rows, 4 of rank 16": Case(ROWS, NAMES[:4]),
    "prompt": Case(1, prompt=2000, answer=1),
    "32 prompts, 32 of rank 16": Case(ROWS, NAMES, prompt=256, answer=1),
}
SHORT = {name: replace(CASES[name], answer=12) for name in ["32 rows", "32 rows, 32 of rank 16"]}
"""For those that take long."""


def config_of(shape: str) -> Any:
    """A Llama's of that shape."""
    from transformers import LlamaConfig

    hidden, inner, layers, heads, keys, vocabulary = SHAPES[shape]
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=shape != "8b",
    )


def random_llama(config: Any) -> Any:
    """Random weights of that shape, as transformers has them."""
    from transformers import AutoModelForCausalLM

    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def bandwidth() -> float:
    """Bytes that the GPU reads and writes in a second, by a copy of 4 GiB."""
    source = torch.empty(1 << 32, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = []
    for _ in range(8):
        torch.cuda.synchronize()
        began = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * source.nbytes / min(seconds)


class Peft:
    """PEFT's own mixed batch (`adapter_names`), on the same weights."""

    def __init__(self, model: Any, rank: int) -> None:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear")
        self._mixed = get_peft_model(model, config, adapter_name="0")
        for number in range(1, ROWS):
            self._mixed.add_adapter(str(number), config)
        self._mixed.to(torch.bfloat16).eval()

    @torch.inference_mode()
    def seconds(self, case: Case) -> float:
        """Answer the rows in one batch."""
        ids = torch.randint(100, 40_000, (case.rows, case.prompt), device="cuda")
        torch.cuda.synchronize()
        began = time.perf_counter()
        self._mixed.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            adapter_names=[str(row) for row in range(case.rows)],
            do_sample=False,
            min_new_tokens=case.answer,
            max_new_tokens=case.answer,
            pad_token_id=0,
        )
        torch.cuda.synchronize()
        return time.perf_counter() - began


def ours(network: Network, base: Base, adapters: Mapping[str, Path]) -> Ours:
    """Our engine over a network."""
    return Ours(Engine(network, Tokenizer.from_folder(base.folder), finder(adapters), ROOM))


def _speed(seconds: Callable[[Case], float], case: Case) -> float:
    torch.cuda.synchronize()
    return case.tokens / seconds(case)


def run(shape: str, base: Base, rounds: int, *, peft: bool) -> list[Row]:
    """Measure all cases."""
    config = config_of(shape)
    rows = [Row(f"gpu.{shape}.bandwidth", (read := bandwidth()) / 1e9, "GB/s")]
    with tempfile.TemporaryDirectory() as scratch:
        config.save_pretrained(scratch)
        shaped = Base(shape, Path(scratch))
        make = partial(random_adapter, shaped, rank=RANK, dtype=torch.bfloat16)
        folders = {name: Path(scratch, name) for name in NAMES}
        with ThreadPoolExecutor() as pool:
            made = [pool.submit(make, folder, seed=n) for n, folder in enumerate(folders.values())]
            adapters = {name: each.result() for name, each in zip(NAMES, made, strict=True)}
        model = random_llama(config)
        weights = dict(model.state_dict())
        settings: dict[str, Any] = {"dtype": torch.bfloat16, "device": torch.device("cuda")}
        began = time.perf_counter()
        fast = ours(GpuNetwork(GpuLlama(config, weights, **settings), ROWS), base, adapters)
        rows.append(Row(f"gpu.{shape}.start", time.perf_counter() - began, "s"))
        plain = ours(TorchNetwork(Llama(config, weights, **settings)), base, adapters)
        asked = {name: partial(_speed, fast.seconds, case) for name, case in CASES.items()}
        asked |= {
            f"torch, {name}": partial(_speed, plain.seconds, case) for name, case in SHORT.items()
        }
        if peft:
            theirs = Peft(model, RANK)
            case = SHORT["32 rows, 32 of rank 16"]
            asked["PEFT, 32 rows, 32 of rank 16"] = partial(_speed, theirs.seconds, case)
        for each in asked.values():
            each()
        medians = alternating(asked, rounds)
    rows += [Row(f"gpu.{shape}.{name}", value, "tokens/s") for name, value in medians.items()]
    return rows + ratios(shape, medians) + limits(shape, medians, weights, read)


def ratios(shape: str, medians: Mapping[str, float]) -> list[Row]:
    """What adapters cost, and what others make of them."""
    mixed = "32 rows, 32 of rank 16"
    each = {"none": "32 rows", "torch": f"torch, {mixed}", "PEFT": f"PEFT, {mixed}"}
    found = {whom: medians[mixed] / medians[name] for whom, name in each.items() if name in medians}
    return [Row(f"gpu.{shape}.ratio.32 adapters to {k}", v, "ratio") for k, v in found.items()]


def limits(
    shape: str, medians: Mapping[str, float], weights: Mapping[str, torch.Tensor], read: float
) -> list[Row]:
    """Shares of what the bandwidth allows, if a step read the weights and nothing else."""
    each = {weight.data_ptr(): weight.nbytes for weight in weights.values()}
    embedding = weights["model.embed_tokens.weight"]
    if weights["lm_head.weight"].data_ptr() != embedding.data_ptr():
        del each[embedding.data_ptr()]
    step = sum(each.values()) / read
    return [
        Row(f"gpu.{shape}.of the limit.{name}", medians[name] * step / CASES[name].rows, "share")
        for name in ("1 row", "32 rows")
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peft", action="store_true", help="measure PEFT's mixed batch, too")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    rows = run(arguments.shape, base, arguments.rounds, peft=arguments.peft)
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
