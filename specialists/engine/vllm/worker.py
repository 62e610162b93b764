"""vLLM's side of the pipe: a program for the interpreter that has vLLM. It needs nothing of ours.

It reads one JSON object a line: `{"generate": id, …}`, `{"abort": id}`, `{"load": adapter, …}` or
`{"unload": adapter, …}`. It writes `{"ready": …}` first, then `{"id": …, "tokens": […], …}` for
what was generated and `{"call": …}` for what was loaded or unloaded. It ends when the pipe does.
"""

import asyncio
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

MOST_LINE = 1 << 28
Tell = Callable[[dict[str, Any]], None]


class Worker:
    """Does what it is told."""

    def __init__(self, engine: AsyncLLM, tell: Tell) -> None:
        self._engine = engine
        self._tell = tell
        self._answers: dict[str, asyncio.Task[None]] = {}
        self._adapters: dict[int, LoRARequest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What is told first is done first: a place is given up before it is taken again.
        self._loading = asyncio.Lock()

    def hear(self, message: dict[str, Any]) -> None:
        """Begin to do what a message says."""
        if "generate" in message:
            task = self._begin(self._generate(message["generate"], message))
            self._answers[message["generate"]] = task
        elif "abort" in message:
            self._abort(message["abort"])
        else:
            self._begin(self._load(message) if "load" in message else self._unload(message))

    def _abort(self, number: str) -> None:
        if number in self._answers:
            self._answers.pop(number).cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _generate(self, number: str, message: dict[str, Any]) -> None:
        prompt = tokens_input(message["prompt"], cache_salt=message["salt"])
        adapter = self._adapters[message["adapter"]] if message["adapter"] else None
        given = {"lora_request": adapter, "priority": message["priority"]}
        try:
            params = sampling(message["params"], message["grammar"])
            async for output in self._engine.generate(prompt, params, number, **given):
                self._tell({"id": number, **told(output)})
        except EngineDeadError:
            raise
        except Exception as error:
            self._tell({"id": number, "error": said(error)})
        finally:
            self._answers.pop(number, None)

    async def _load(self, message: dict[str, Any]) -> None:
        adapter = LoRARequest(message["name"], message["load"], message["folder"])
        async with self._loading:
            try:
                await self._engine.add_lora(adapter)
            except EngineDeadError:
                raise
            except Exception as error:
                self._tell({"call": message["call"], "error": said(error)})
                return
        self._adapters[message["load"]] = adapter
        self._tell({"call": message["call"], "error": None})

    async def _unload(self, message: dict[str, Any]) -> None:
        self._adapters.pop(message["unload"], None)
        async with self._loading:
            await self._engine.remove_lora(message["unload"])
            left = await self._engine.list_loras()
        lingers = f"{message['unload']} is still loaded" if message["unload"] in left else None
        self._tell({"call": message["call"], "error": lingers})


def sampling(params: dict[str, Any], grammar: str | None) -> SamplingParams:
    """The sampling parameters as vLLM has them; `grammar` is llguidance's Lark."""
    bias = {int(token): value for token, value in params.pop("logit_bias").items()}
    return SamplingParams(
        **params,
        logit_bias=bias or None,
        structured_outputs=StructuredOutputsParams(grammar=grammar) if grammar else None,
        output_kind=RequestOutputKind.DELTA,
        detokenize=False,
    )


def told(output: Any) -> dict[str, Any]:
    """What came of a request since the last time."""
    (answer,) = output.outputs
    return {
        "tokens": list(answer.token_ids),
        "logprobs": [likeliest(each) for each in answer.logprobs] if answer.logprobs else None,
        "finish": answer.finish_reason,
        "cached": output.num_cached_tokens or 0,
    }


def likeliest(found: dict[int, Any]) -> list[tuple[int, float]]:
    """Tokens with their log probabilities, the likeliest first."""
    return sorted(
        ((token, each.logprob) for token, each in found.items()), key=lambda pair: -pair[1]
    )


def said(error: Exception) -> str:
    """An error, for whoever reads the log."""
    return f"{type(error).__name__}: {error}"


async def main(options: dict[str, Any], folder: str, tell: Tell) -> None:
    """Start vLLM, and do what standard input says until it ends.

    Args:
        options: vLLM's engine arguments.
        folder: for whoever tells of adapters; it goes when this ends, whatever ends the others.
        tell: sends a message.
    """
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**options))
    config = engine.model_config
    base = {"context": config.max_model_len, "vocabulary": config.get_vocab_size()}
    tell({"ready": base | {"folder": folder}})
    reader = asyncio.StreamReader(limit=MOST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    worker, watched = Worker(engine, tell), asyncio.create_task(dead(engine))
    while not watched.done():
        line = asyncio.create_task(reader.readline())
        await asyncio.wait({line, watched}, return_when=asyncio.FIRST_COMPLETED)
        if not line.done() or not line.result():
            break
        worker.hear(json.loads(line.result()))
    engine.shutdown()


async def dead(engine: AsyncLLM) -> None:
    """Return when the engine has died."""
    while not engine.errored:  # noqa: ASYNC110 (vLLM tells nobody)
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    # Others print to standard output, too: they are given standard error in its place.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        """Send a line."""
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        with tempfile.TemporaryDirectory(prefix="myriad-adapters-") as links:
            asyncio.run(main(json.loads(sys.argv[1]), links, write))
    except Exception:
        traceback.print_exc()
    finally:
        # Threads of vLLM's would keep the process, and its memory, for nobody.
        sys.stderr.flush()
        os._exit(0)
