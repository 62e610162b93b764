"""vLLM's load tester (`vllm bench serve`), asked over stdin: one JSON object a line.

Run as: python vllm_load.py NAME TOKENIZER. Takes {"rows", "prompt", "answer"}, how many clients
there are and tokens of each request, and {"url", "requests", "models", "seed"}: who is asked, how
often, and for which models, dealt out among the requests (none for what is called NAME). Gives the
figures that it finds.
"""

import argparse
import json
import os
import sys
from typing import Any

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what it prints is no answer

from vllm.benchmarks import serve  # noqa: E402


def told(name: str, tokenizer: str, asked: dict[str, Any]) -> list[str]:
    """What is asked, as the command takes it."""
    options = {
        "--backend": "openai-chat",
        "--endpoint": "/v1/chat/completions",
        "--base-url": asked["url"],
        "--model": name,
        "--tokenizer": tokenizer,
        "--dataset-name": "random",
        "--random-input-len": asked["prompt"],
        "--random-output-len": asked["answer"],
        "--num-prompts": asked["requests"],
        "--max-concurrency": asked["rows"],
        "--seed": asked["seed"],
        "--temperature": 0,
    }
    pairs = [str(word) for pair in options.items() for word in pair]
    models = ["--lora-modules", *asked["models"]] if asked["models"] else []
    return [*pairs, "--ignore-eos", "--disable-tqdm", *models]


def main() -> None:
    """Serve until stdin ends."""
    name, tokenizer = sys.argv[1:]
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    print(json.dumps({"ready": True}), file=OUT, flush=True)
    for line in sys.stdin:
        found = serve.main(parser.parse_args(told(name, tokenizer, json.loads(line))))
        plain = {key: value for key, value in found.items() if isinstance(value, int | float)}
        print(json.dumps(plain), file=OUT, flush=True)


if __name__ == "__main__":
    main()
