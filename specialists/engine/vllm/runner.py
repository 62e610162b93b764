"""A backend whose engine is vLLM."""

import hashlib
import shutil
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from specialists.engine.backend import Request
from specialists.engine.core import Emission, SamplingParams
from specialists.engine.grammar import Grammars
from specialists.engine.loads import LocateAdapter
from specialists.engine.mailbox import Mailbox, coalesced
from specialists.engine.pace import Pace
from specialists.engine.places import Places
from specialists.engine.report import Report, marks
from specialists.engine.slots import SlotPool
from specialists.engine.streams import Streams
from specialists.engine.text import Tokenizer
from specialists.engine.vllm.adapters import Adapters, Known
from specialists.engine.vllm.process import Process
from specialists.engine.vllm.row import VllmRow
from specialists.errors import EngineStopped, InvalidSampling, Overloaded
from specialists.machine import cores

MOST_LOGPROBS = 20
HELD_ADAPTERS = 4096
"""That vLLM may hold: fewer are, by bytes."""
HANGING_SECONDS = 300.0
"""If it says nothing for so long of what it is to answer, it will not."""


@dataclass(frozen=True)
class VllmOptions:
    """Limits of a vLLM engine.

    Attributes:
        python: the interpreter that has vLLM.
        device: where the base lives, in torch's terms.
        dtype: of the base's weights, in torch's terms.
        threads: on CPUs; None takes one per core.
        max_rows: rows in a step.
        step_tokens: tokens in a step.
        kv_bytes: for keys and values.
        slot_bytes: for resident adapters.
        max_rank: of any adapter; vLLM pads all that are computed at once to it.
        batch_adapters: adapters that are computed at once.
        max_context: tokens of prompt and answer together; None takes what the base allows.
        arguments: vLLM's own engine arguments, which go before all others.
    """

    python: str
    device: str = "cpu"
    dtype: str = "auto"
    threads: int | None = None
    max_rows: int = 32
    step_tokens: int = 512
    kv_bytes: int = 1 << 30
    slot_bytes: int = 1 << 30
    max_rank: int = 64
    batch_adapters: int = 8
    max_context: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def told(self, folder: Path) -> dict[str, Any]:
        """Engine arguments of vLLM's for a base."""
        return {
            "model": str(folder),
            "dtype": self.dtype,
            "max_num_seqs": self.max_rows,
            "max_num_batched_tokens": max(self.step_tokens, self.max_rows),
            "max_model_len": self.max_context,
            "kv_cache_memory_bytes": self.kv_bytes,
            "enable_prefix_caching": True,
            "scheduling_policy": "priority",
            "enable_lora": True,
            "max_loras": min(self.batch_adapters, self.max_rows),
            "max_lora_rank": self.max_rank,
            "max_cpu_loras": HELD_ADAPTERS,
            "max_logprobs": MOST_LOGPROBS,
            "structured_outputs_config": {"backend": "guidance"},
            # What is compiled first answers faster later, but nothing for minutes.
            "enforce_eager": self.device == "cpu",
            "disable_log_stats": True,
            **self.arguments,
        }

    @property
    def environment(self) -> Mapping[str, str]:
        """What vLLM reads from its environment, where that does not say."""
        threads = str(self.threads or cores())
        return {
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "HF_HUB_OFFLINE": "1",
            # By itself it leaves one core to its scheduler, of however few.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": threads,
        }


class VllmRunner:
    """vLLM at work, see `Backend`. For one event loop."""

    def __init__(
        self, folder: Path, locate: LocateAdapter, options: VllmOptions, *, max_waiting: int
    ) -> None:
        """Start vLLM for a base in transformers' layout, and wait until it is ready.

        Args:
            folder: the base's.
            locate: finds an adapter's files.
            options: the limits.
            max_waiting: rows that may wait beyond those that fit a step.

        Raises:
            NoVllm: it does not start.
        """
        self.tokenizer = Tokenizer.from_folder(folder)
        self._process = Process(options.python, options.told(folder), options.environment)
        self.context: int = self._process.ready["context"]
        self._vocabulary: int = self._process.ready["vocabulary"]
        self.grammars = Grammars(self.tokenizer.state, self.tokenizer.eos, self._vocabulary)
        self._slots: SlotPool[Known] = SlotPool(options.slot_bytes)
        self._pace = Pace()
        self._adapters = Adapters(
            self._slots,
            Path(self._process.ready["folder"]),
            locate,
            self._process.call,
            self._pace,
        )
        self._places = Places(options.max_rows + max_waiting)
        self._streams = Streams()
        self._max_rows = options.max_rows
        self._numbers = count()
        self._rows: dict[str, VllmRow] = {}
        self._prompted = self._cached = self._generated = 0
        self._stopping = False
        self._process.listen(self._hear, self._ended)

    @property
    def alive(self) -> bool:
        """See `Backend.alive`."""
        rows = list(self._rows.values())
        quiet = rows and time.monotonic() - max(row.heard for row in rows) > HANGING_SECONDS
        return self._process.alive and not self._stopping and not quiet

    async def generate(self, request: Request) -> AsyncGenerator[list[tuple[int, Emission]], None]:
        """See `Backend.generate`."""
        self.require_room(request.n, request.tenant)
        request.require_computable(self.context, self._vocabulary)
        if request.params.prompt_logprobs is not None:
            # Of several prompts at once, with LoRA on, it dies of it.
            raise InvalidSampling("vLLM does not tell how likely prompts are", "echo")
        if request.thoughts is not None and request.thoughts.most is not None:
            message = "vLLM does not bound thoughts: leave their budget, or the effort, out"
            raise InvalidSampling(message, "thinking_token_budget")
        places, streams = self._places, self._streams
        with places.taken(request.tenant, request.n), streams.opened(request.streams):
            async with self._adapters.held(request.adapter) as adapter:
                mailbox = Mailbox(request.n, whole=request.whole)
                rows = {self._name(): self._row(request, n, mailbox) for n in range(request.n)}
                self._rows |= rows
                try:
                    for number, name in enumerate(rows):
                        self._process.tell(self._told(name, request, number, adapter))
                    # Told to one that has ended, nobody would ever answer.
                    self._require_alive()
                    async for emissions in coalesced(mailbox, self._streams.pause):
                        yield emissions
                finally:
                    for name in rows:
                        self._forget(name)

    def require_room(self, rows: int, tenant: str | None = None) -> None:
        """See `Backend.require_room`."""
        self._require_alive()
        if not self._places.room(tenant, rows):
            raise Overloaded(retry_after=1)

    def prefetch(self, digest: str, *, evicts: bool) -> None:
        """See `Backend.prefetch`."""
        self._adapters.hint(digest, evicts=evicts)

    def report(self) -> Report:
        """See `Backend.report`."""
        step, row = self._pace.step_seconds
        return Report(
            rows=self._places.count,
            capacity=self._max_rows,
            step=step,
            row=row,
            load=self._pace.load_seconds,
            answer=self._pace.answer_tokens,
            full=self._slots.full,
            resident=marks(self._slots.resident()),
        )

    def stats(self) -> dict[str, int]:
        """See `Backend.stats`; pages are vLLM's own affair."""
        running = sum(1 for row in list(self._rows.values()) if row.tokens)
        return {
            "running": running,
            "waiting": self._places.count - running,
            "adapters_resident": len(self._slots.resident()),
            "adapter_bytes": self._slots.used,
            "adapter_loads_total": self._pace.loads,
            "adapter_evictions_total": self._slots.evicted,
            "prompt_tokens_total": self._prompted,
            "cached_tokens_total": self._cached,
            "generated_tokens_total": self._generated,
        }

    def close(self) -> None:
        """See `Backend.close`."""
        self._stopping = True
        self._process.close()
        # One that was killed did not tidy up.
        shutil.rmtree(self._process.ready["folder"], ignore_errors=True)

    def _name(self) -> str:
        return str(next(self._numbers))

    def _row(self, request: Request, number: int, mailbox: Mailbox) -> VllmRow:
        return VllmRow(
            prompt=len(request.prompt),
            text=self.tokenizer.stream(request.params.stop, request.thoughts),
            eos=_params(request).ends(self.tokenizer.eos),
            shown=request.params.logprobs,
            emit=lambda emission: mailbox.put((number, emission)),
        )

    def _told(
        self, name: str, request: Request, number: int, adapter: int | None
    ) -> dict[str, Any]:
        room = self.context - len(request.prompt)
        return {
            "generate": name,
            "prompt": request.prompt,
            "adapter": adapter,
            "salt": request.tenant,
            # What has the least comes first.
            "priority": int(request.absent),
            "params": sampling(_params(request), number, room, self.tokenizer.eos),
            "grammar": request.grammar.rules if request.grammar else None,
        }

    def _forget(self, name: str) -> None:
        row = self._rows.pop(name)
        if not row.over:
            self._process.tell({"abort": name})

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Take in what was generated, in the thread that reads it."""
        row = self._rows.get(message["id"])
        if row is None or row.over:
            return
        began, before = row.heard, row.tokens
        row.heard = time.monotonic()
        row.hear(message)
        self._count(row, before, row.heard - began)
        if row.over and message.get("finish") is None and "error" not in message:
            self._process.tell({"abort": message["id"]})

    def _count(self, row: VllmRow, before: int, seconds: float) -> None:
        self._generated += row.tokens - before
        if before:
            self._pace.stepped(len(self._rows), (), seconds)
        elif row.tokens:
            self._cached += row.cached
            self._prompted += row.prompt - row.cached
        if row.over:
            self._pace.answered(row.tokens)

    def _ended(self) -> None:
        self._stopping = True
        for row in list(self._rows.values()):
            row.fail(EngineStopped("vLLM has ended"))

    def _require_alive(self) -> None:
        if not self.alive:
            raise EngineStopped("vLLM is shutting down")


def _params(request: Request) -> SamplingParams:
    """A grammar says itself where its answer ends; vLLM would go on behind that."""
    if request.grammar is None:
        return request.params
    return replace(request.params, min_tokens=0, ignore_eos=False)


def sampling(params: SamplingParams, number: int, room: int, eos: frozenset[int]) -> dict[str, Any]:
    """Of a request's row `number`, as vLLM takes them, with room for so many tokens."""
    said = asdict(params)
    seed = None if params.seed is None else _seed(f"{params.seed}/{number}")
    greedy = params.temperature == 0 or params.top_p == 0
    said |= {"temperature": 0.0, "top_p": 1.0} if greedy else {}
    said |= {"max_tokens": max(min(params.max_tokens, room), 1), "seed": seed}
    # Stop texts are found where tokens become text.
    ends = sorted(params.ends(eos))
    said |= {"stop": None, "stop_token_ids": ends, "logit_bias": dict(params.logit_bias)}
    said["min_tokens"] = min(params.min_tokens, said["max_tokens"])  # it refuses more
    return said


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
