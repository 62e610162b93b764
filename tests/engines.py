"""Adapters, engines and answers for the engine's tests."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from registry.files import AdapterFiles
from router.engine import ToolCall
from specialists.base import Base
from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.grammar import Grammar

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SMALL = EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=1 << 20, step_tokens=64)


@dataclass(frozen=True)
class Turn:
    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    thoughts: str = ""


def make_adapter(base: Base, folder: Path, *, seed: int, **lora) -> Path:
    """Save a random PEFT adapter, strong enough to change what the base says."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    settings = {"r": 8, "lora_alpha": 16, "target_modules": ALL} | lora
    network = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    network.peft_config["default"].base_model_name_or_path = base.name
    network.save_pretrained(folder, save_embedding_layers=False)
    return folder


def make_adapters(base: Base, root: Path, each: dict[str, dict]) -> dict[str, Path]:
    """A folder for each adapter, by its name."""
    return {
        name: make_adapter(base, root / name, seed=seed, **lora)
        for seed, (name, lora) in enumerate(each.items())
    }


def engine(base: Base, adapters: dict[str, Path], options: EngineOptions = SMALL) -> Engine:
    """An engine that finds its adapters in a dict from digest to folder."""

    def locate(digest: str) -> AdapterFiles:
        return AdapterFiles.in_folder(adapters[digest])

    return Engine.from_folder(base.folder, locate, options)


def sequence(
    made: Engine,
    prompt: list[int],
    adapter: str | None = None,
    grammar: Grammar | None = None,
    tenant: str | None = None,
    absent: bool = False,
    **params,
) -> tuple[Row, list[Emission]]:
    """A greedy sequence, and the list that its emissions go to."""
    emissions: list[Emission] = []
    settings = SamplingParams(**({"max_tokens": 16, "temperature": 0.0} | params))
    row = Row(
        id="test",
        adapter=adapter,
        tokens=list(prompt),
        prompt_length=len(prompt),
        params=settings,
        text=made.tokenizer.stream(settings.stop),
        emit=emissions.append,
        random=Random(settings.seed),
        grammar=grammar,
        tenant=tenant,
        absent=absent,
    )
    made.add(row)
    return row, emissions


def run(made: Engine, steps: int = 10_000) -> None:
    """Step until nothing is left to do, checking at every step that pages and pins add up."""
    for _ in range(steps):
        progressed = made.step()
        made.check_integrity()
        stats = made.stats()
        if not progressed and not stats["waiting"] and not stats["running"]:
            return
        if not progressed:
            made._loads.wait()
    raise AssertionError(f"the engine did not come to rest: {made.stats()}")
