"""vLLM on CPUs, asked over stdin: one JSON object a line.

Run as: python vllm_cpu.py BASE DTYPE THREADS ADAPTER…; without adapters LoRA is off. Takes
{"rows", "prompt", "answer"}, perhaps {"scored"}: log probabilities beside those of the prompts'
tokens; and gives {"seconds"}. The adapters are dealt out among the rows.
"""

import json
import os
import sys
import time
from itertools import count
from typing import Any

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what vLLM prints is no answer

from vllm import LLM, SamplingParams, TokensPrompt  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402

ASKED = count()


def engine(base: str, dtype: str, threads: str, adapters: int) -> Any:
    """VLLM as it starts by default, but on all cores."""
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": threads}
    lora = {"enable_lora": True, "max_loras": adapters, "max_lora_rank": 16} if adapters else {}
    return LLM(model=base, dtype=dtype, max_model_len=1024, kv_cache_memory_bytes=1 << 30, **lora)


def measure(
    llm: Any, adapters: list[Any], rows: int, prompt: int, answer: int, scored: int | None = None
) -> dict[str, float]:
    """Answer the rows in one batch."""
    # Whoever asks anew finds nothing of what was computed before.
    salt = str(next(ASKED))
    prompts = [
        TokensPrompt(
            prompt_token_ids=[100 + (31 * row + 7 * at) % 40_000 for at in range(prompt)],
            cache_salt=salt,
        )
        for row in range(rows)
    ]
    params = SamplingParams(
        temperature=0, max_tokens=answer, min_tokens=answer, ignore_eos=True, detokenize=False,
        logprobs=scored, prompt_logprobs=scored,
    )  # fmt: skip
    dealt = [adapters[row % len(adapters)] for row in range(rows)] if adapters else None
    began = time.perf_counter()
    made = llm.generate(prompts, params, lora_request=dealt, use_tqdm=False)
    seconds = time.perf_counter() - began
    assert all(len(each.outputs[0].token_ids) == answer for each in made)
    assert scored is None or all(len(each.prompt_logprobs) == prompt for each in made)
    return {"seconds": seconds, "prompt_seconds": seconds}


def main() -> None:
    """Serve until stdin ends."""
    base, dtype, threads, *folders = sys.argv[1:]
    adapters = [LoRARequest(folder, at, folder) for at, folder in enumerate(folders, 1)]
    llm = engine(base, dtype, threads, len(adapters))
    measure(llm, adapters, max(len(adapters), 1), 4, 2)  # adapters are loaded before it counts
    print(json.dumps({"ready": True}), file=OUT, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(llm, adapters, **json.loads(line))), file=OUT, flush=True)


if __name__ == "__main__":
    main()
