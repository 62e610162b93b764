"""The engine: one base, many adapters, one step at a time. Not thread-safe; see `Runner`."""

import logging
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from specialists.engine.batching import build_batch, by_adapter
from specialists.engine.core import Choice, Emission, FinishReason, Run, Sequence
from specialists.engine.llama import Llama, load_llama
from specialists.engine.lora import AdapterWeights, load_adapter
from specialists.engine.pages import PAGE_TOKENS, PagePool, page_bytes
from specialists.engine.sampler import sample
from specialists.engine.scheduler import Scheduler
from specialists.engine.slots import SlotPool
from specialists.engine.text import Tokenizer
from specialists.errors import AdapterUnavailable, EngineError, EngineStopped
from specialists.hardware import choose_dtype, cores

logger = logging.getLogger(__name__)

LocateAdapter = Callable[[str], tuple[Path, Path]]
"""From a version's digest to its config and weight files; raises LookupError."""


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine.

    Attributes:
        dtype: "auto" takes bfloat16 where the hardware computes it, float32 elsewhere.
        device: where the base lives, in torch's terms.
        threads: CPU threads of the forward pass; None takes one per core.
        max_rows: sequences in a step.
        step_tokens: tokens in a step, so that a long prompt does not hold up the others.
        kv_bytes: for keys and values.
        slot_bytes: for resident adapters.
        max_context: tokens of prompt and answer together; None takes what the base allows.
    """

    dtype: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    max_rows: int = 32
    step_tokens: int = 512
    kv_bytes: int = 1 << 30
    slot_bytes: int = 1 << 30
    max_context: int | None = None


class Engine:
    """Steps a mixed batch: schedule, forward, sample, emit."""

    def __init__(
        self,
        llama: Llama,
        tokenizer: Tokenizer,
        locate: LocateAdapter,
        options: EngineOptions,
        *,
        context: int,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the weights and the limits.

        Args:
            llama: the base.
            tokenizer: the base's.
            locate: finds an adapter's files.
            options: the limits.
            context: positions that the base was made for.
            wake: called from another thread when an adapter was loaded.
        """
        self.tokenizer = tokenizer
        pages = options.kv_bytes // page_bytes(
            len(llama.layers), llama.kv_heads, llama.head_dim, llama.dtype
        )
        self._llama = llama
        self._cache = llama.new_cache(pages)
        self._pool = PagePool(pages)
        self._slots = SlotPool(options.slot_bytes)
        self._scheduler = Scheduler(self._pool, self._slots, options.max_rows, options.step_tokens)
        self._max_rows = options.max_rows
        self.vocabulary = len(llama.embedding)
        self.context = min(options.max_context or context, context, pages * PAGE_TOKENS)
        self._locate = locate
        self._wake = wake
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="adapter-loader")
        self._loading: dict[str, Future[AdapterWeights]] = {}

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        locate: LocateAdapter,
        options: EngineOptions,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> "Engine":
        """Load a base in transformers' layout."""
        from transformers import AutoConfig

        torch.set_num_threads(options.threads or cores())
        device = torch.device(options.device)
        llama = load_llama(folder, dtype=choose_dtype(options.dtype, device), device=device)
        context = AutoConfig.from_pretrained(folder).max_position_embeddings
        tokenizer = Tokenizer.from_folder(folder)
        return cls(llama, tokenizer, locate, options, context=context, wake=wake)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self._scheduler.add(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Forget a sequence and free what it holds; fine if it has ended."""
        self._scheduler.remove(sequence)

    def step(self) -> bool:
        """Advance every sequence that can be advanced; False when there was none."""
        crowded_out = self._settle_loads()
        if crowded_out is None:
            self._request_loads()
        runs = by_adapter(self._scheduler.schedule(crowded_out))
        if not runs:
            return False
        self._cache.clear(self._pool.take_fresh())
        logits = self._llama.forward(
            build_batch(runs, self._slots, self._llama.device), self._cache
        )
        self._advance(runs, logits)
        return True

    def fail_all(self, error: EngineError) -> None:
        """End every sequence with an error."""
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            self._fail(sequence, error)

    def close(self) -> None:
        """End every sequence and the loader's thread."""
        self.fail_all(EngineStopped("the engine is shutting down"))
        self._loader.shutdown(cancel_futures=True)

    def stats(self) -> dict[str, int]:
        """Figures for metrics and status: rows, pages and bytes."""
        return {
            "running": len(self._scheduler.running),
            "waiting": len(self._scheduler.waiting),
            "pages_free": self._pool.available,
            "pages": self._pool.count,
            "adapters_resident": len(self._slots.resident()),
            "adapter_bytes": self._slots.used,
        }

    def check_integrity(self) -> None:
        """Pages and pins add up.

        Raises:
            AssertionError: something was lost or is held twice.
        """
        self._scheduler.check_integrity()

    def _request_loads(self) -> None:
        # Only those that could be admitted soon: a long queue must not evict what the front needs.
        free_rows = max(self._max_rows - len(self._scheduler.running), 1)
        for sequence in islice(self._scheduler.waiting, free_rows):
            digest = sequence.adapter
            if digest is not None and digest not in self._slots and digest not in self._loading:
                self._loading[digest] = self._loader.submit(self._load, digest)
                self._loading[digest].add_done_callback(lambda _: self._wake())

    def _load(self, digest: str) -> AdapterWeights:
        config, weights = self._locate(digest)
        return load_adapter(
            config, weights, len(self._llama.layers), self._llama.widths, self._llama.device
        )

    def _settle_loads(self) -> str | None:
        """Make loaded adapters resident, for the sequence that waits longest first.

        Returns:
            The first adapter that finds no room, since those in use or awaited before it stay.
        """
        awaited = dict.fromkeys(row.adapter for row in self._scheduler.waiting if row.adapter)
        self._drop_loads(awaited)
        keep: set[str] = set()
        for digest in awaited:
            load = self._loading.get(digest)
            if load is not None and load.done():
                if (error := load.exception()) is not None:
                    self._refuse_adapter(digest, error)
                elif not self._slots.put(digest, load.result(), keep):
                    return digest
                del self._loading[digest]
            keep.add(digest)
        return None

    def _drop_loads(self, awaited: Container[str]) -> None:
        """Forget what was loaded for sequences that have left."""
        for digest in [digest for digest in self._loading if digest not in awaited]:
            self._loading.pop(digest).cancel()

    def _refuse_adapter(self, digest: str, error: BaseException) -> None:
        logger.error("adapter %s could not be loaded", digest, exc_info=error)
        for sequence in list(self._scheduler.waiting):
            if sequence.adapter == digest:
                self._fail(sequence, AdapterUnavailable(f"adapter {digest} could not be loaded"))

    def _advance(self, runs: list[Run], logits: torch.Tensor) -> None:
        ends = [run.sequence for run in runs if run.samples]
        for run in runs:
            run.sequence.computed += run.count
        finite = logits.isfinite().all(dim=-1)
        for place in (~finite).nonzero().flatten().tolist():
            self._fail(ends[place], AdapterUnavailable("the adapter computes no finite numbers"))
        rows = [sequence for sequence, sound in zip(ends, finite.tolist(), strict=True) if sound]
        for sequence, choice in zip(rows, sample(logits[finite], rows), strict=True):
            self._extend(sequence, choice)

    def _extend(self, sequence: Sequence, choice: Choice) -> None:
        sequence.tokens.append(choice.token)
        ended = choice.token in self.tokenizer.eos
        text = "" if ended else sequence.text.push(choice.token)
        finish = self._finish(sequence, ended=ended)
        if finish is not None:
            if not sequence.text.stopped:
                text += sequence.text.flush()
            self._scheduler.remove(sequence)
        sequence.emit(Emission(choice, text, finish))

    def _finish(self, sequence: Sequence, *, ended: bool) -> FinishReason | None:
        if ended or sequence.text.stopped:
            return FinishReason.STOP
        if sequence.generated >= sequence.params.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.LENGTH if len(sequence.tokens) >= self.context else None

    def _fail(self, sequence: Sequence, error: EngineError) -> None:
        self._scheduler.remove(sequence)
        sequence.emit(Emission(None, "", error=error))
