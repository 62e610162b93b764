"""llama.cpp behind its server's own queue, asked over stdin: one JSON object a line.

Run by an environment that has xllamacpp: python llama_cpp.py FILE.gguf THREADS SLOTS
Takes {"rows", "prompt", "answer"}: rows that are answered side by side, tokens of each prompt and
of each answer. Gives {"seconds"} that it took, all in all, and {"prompt_seconds"} of the first.
"""

import json
import sys
import threading
import time

import xllamacpp

CONTEXT = 1024


def server(file: str, threads: int, slots: int) -> xllamacpp.Server:
    """A server that keeps nothing from one request for the next."""
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx = CONTEXT * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup = True
    return xllamacpp.Server(params)


def measure(made: xllamacpp.Server, rows: int, prompt: int, answer: int) -> dict[str, float]:
    """Answer the rows side by side."""
    timings: list[dict[str, float]] = []

    def ask(row: int) -> None:
        asked = {
            "prompt": [100 + (31 * row + 7 * at) % 40_000 for at in range(prompt)],
            "n_predict": answer,
            "ignore_eos": True,
            "cache_prompt": False,
            "temperature": 0,
        }
        reply = made.handle_completions(asked)
        timings.append((reply if isinstance(reply, dict) else json.loads(reply))["timings"])

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(row,)) for row in range(rows)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    assert all(timing["predicted_n"] == answer for timing in timings), timings
    return {"seconds": seconds, "prompt_seconds": timings[0]["prompt_ms"] / 1000}


def main() -> None:
    """Serve until stdin ends."""
    file, threads, slots = sys.argv[1:]
    made = server(file, int(threads), int(slots))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(made, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
