"""The engine: one base, many adapters, one step at a time. Not thread-safe; see `Runner`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from registry.files import AdapterFiles
from specialists.engine.batching import build_batch, by_adapter
from specialists.engine.core import Choice, Emission, FinishReason, Row, Run
from specialists.engine.grammar import Grammars
from specialists.engine.llama import Llama, load_llama
from specialists.engine.loads import Loads, LocateAdapter
from specialists.engine.lora import AdapterWeights, load_adapter
from specialists.engine.pages import PAGE_TOKENS, PagePool, page_bytes
from specialists.engine.sampler import sample
from specialists.engine.scheduler import Scheduler
from specialists.engine.slots import SlotPool
from specialists.engine.text import Tokenizer
from specialists.errors import (
    AdapterUnavailable,
    BaseUnavailable,
    EngineError,
    EngineStopped,
)
from specialists.hardware import choose_dtype, cores

logger = logging.getLogger(__name__)


LEAST_PAGES = 2


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine.

    Attributes:
        dtype: "auto" takes bfloat16 where the hardware computes it, float32 elsewhere.
        device: where the base lives, in torch's terms.
        threads: CPU threads of the forward pass; None takes one per core.
        max_rows: rows in a step.
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
        if pages < LEAST_PAGES:
            raise BaseUnavailable(
                f"{options.kv_bytes} bytes hold keys and values of {pages * PAGE_TOKENS} tokens; "
                f"{LEAST_PAGES * PAGE_TOKENS} are the least: raise MYRIAD_ENGINE__KV_MIB"
            )
        self.vocabulary = len(llama.embedding)
        self.context = min(options.max_context or context, context, pages * PAGE_TOKENS)
        self.grammars = Grammars(tokenizer.state, tokenizer.eos, self.vocabulary)
        self._loads = Loads(self._slots, locate, self._load, wake)

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

    def add(self, row: Row) -> None:
        """Queue a row."""
        self._scheduler.add(row)

    def abort(self, row: Row) -> None:
        """Forget a row and free what it holds; fine if it has ended."""
        self._scheduler.remove(row)

    def step(self) -> bool:
        """Advance every row that can be advanced; False when there was none."""
        runs = by_adapter(self._scheduler.schedule(self._advance_loads()))
        if not runs:
            return False
        self._cache.clear(self._pool.take_fresh())
        logits = self._llama.forward(
            build_batch(runs, self._slots, self._llama.device), self._cache
        )
        self._advance(runs, logits)
        return True

    def fail_all(self, error: EngineError) -> None:
        """End every row with an error."""
        for row in [*self._scheduler.running, *self._scheduler.waiting]:
            self._fail(row, error)

    def close(self) -> None:
        """End every row and the loader's thread."""
        self.fail_all(EngineStopped("the engine is shutting down"))
        self._loads.close()

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

    def _advance_loads(self) -> str | None:
        """Move loads on; returns the adapter that finds no room, if there is one."""
        waiting = self._scheduler.waiting
        awaited = dict.fromkeys(row.adapter for row in waiting if row.adapter)
        free_rows = max(self._max_rows - len(self._scheduler.running), 1)
        soon = [row.adapter for row in islice(waiting, free_rows) if row.adapter]
        progress = self._loads.advance(awaited, soon)
        for digest, error in progress.failed.items():
            self._refuse_adapter(digest, error)
        return progress.crowded_out

    def _load(self, files: AdapterFiles) -> AdapterWeights:
        llama = self._llama
        return load_adapter(files, len(llama.layers), llama.widths, llama.device)

    def _refuse_adapter(self, digest: str, error: BaseException) -> None:
        logger.error("adapter %s could not be loaded", digest, exc_info=error)
        for row in [row for row in self._scheduler.waiting if row.adapter == digest]:
            self._fail(row, AdapterUnavailable(f"adapter {digest} could not be loaded"))

    def _advance(self, runs: list[Run], logits: torch.Tensor) -> None:
        ends = [run.row for run in runs if run.samples]
        for run in runs:
            run.row.computed += run.count
        # A sum is finite if all its terms are, and overflows only for logits that are lost anyway.
        finite = logits.sum(dim=-1).isfinite()
        for place in (~finite).nonzero().flatten().tolist():
            self._fail(ends[place], AdapterUnavailable("the adapter computes no finite numbers"))
        rows = [row for row, sound in zip(ends, finite.tolist(), strict=True) if sound]
        for row, choice in zip(rows, sample(logits[finite], rows), strict=True):
            try:
                self._extend(row, choice)
            except EngineError as error:
                self._fail(row, error)
            except Exception:
                logger.exception("row %s failed; the others go on", row.id)
                self._fail(row, EngineStopped("the engine failed while it answered"))

    def _extend(self, row: Row, choice: Choice) -> None:
        row.tokens.append(choice.token)
        if row.grammar is not None:
            row.grammar.accept(choice.token)
        ended = choice.token in self.tokenizer.eos
        text = "" if ended else row.text.push(choice.token)
        finish = self._finish(row, ended=ended)
        if finish is not None:
            if not row.text.stopped:
                text += row.text.flush()
                finish = FinishReason.STOP if row.text.stopped else finish
            self._scheduler.remove(row)
        row.emit(Emission(choice, text, finish))

    def _finish(self, row: Row, *, ended: bool) -> FinishReason | None:
        if ended or row.text.stopped:
            return FinishReason.STOP
        if row.grammar is not None and row.grammar.ended:
            return FinishReason.STOP
        if row.generated >= row.params.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.LENGTH if len(row.tokens) >= self.context else None

    def _fail(self, row: Row, error: EngineError) -> None:
        self._scheduler.remove(row)
        row.emit(Emission(None, "", error=error))
