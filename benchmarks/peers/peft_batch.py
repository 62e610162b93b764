"""PEFT's own mixed batch (`adapter_names`), asked over stdin: one JSON object a line.

Run as: python peft_batch.py BASE THREADS ADAPTER…, folders all.
Takes {"rows", "prompt", "answer"}, and gives {"seconds"}. The adapters are dealt out
among the rows.
"""

import json
import sys
import time
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from specialists.hardware import choose_dtype


def model(base: str, adapters: list[str]) -> Any:
    """The base with all adapters, in the dtype that is fastest here."""
    dtype = choose_dtype("auto", torch.device("cpu"))
    made = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    mixed = PeftModel.from_pretrained(made, adapters[0], adapter_name="0")
    for number, folder in enumerate(adapters[1:], 1):
        mixed.load_adapter(folder, adapter_name=str(number))
    return mixed.to(dtype).eval()


@torch.inference_mode()
def measure(mixed: Any, adapters: int, rows: int, prompt: int, answer: int) -> dict[str, float]:
    """Answer the rows in one batch."""
    ids = torch.tensor(
        [[100 + (31 * row + 7 * at) % 40_000 for at in range(prompt)] for row in range(rows)]
    )
    began = time.perf_counter()
    made = mixed.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        adapter_names=[str(row % adapters) for row in range(rows)],
        do_sample=False,
        min_new_tokens=answer,
        max_new_tokens=answer,
    )
    seconds = time.perf_counter() - began
    assert made.shape == (rows, prompt + answer), made.shape
    return {"seconds": seconds}


def main() -> None:
    """Serve until stdin ends."""
    base, threads, *adapters = sys.argv[1:]
    torch.set_num_threads(int(threads))
    mixed = model(base, adapters)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(mixed, len(adapters), **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
