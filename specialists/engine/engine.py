"""The engine: one base, many adapters, one step at a time. Not thread-safe; see `Runner`."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from registry.errors import StorageError
from specialists.engine.batching import by_adapter
from specialists.engine.core import Choice, Emission, FinishReason, Row, Run, emitted, wanted
from specialists.engine.drafts import Drafts
from specialists.engine.grammar import Grammars
from specialists.engine.loads import Loads, LocateAdapter
from specialists.engine.network import Network
from specialists.engine.networks import open_network
from specialists.engine.pace import Pace
from specialists.engine.pages import PAGE_TOKENS, PagePool
from specialists.engine.reading import Part
from specialists.engine.report import Report, marks
from specialists.engine.sampler import rows_of, sample, scored
from specialists.engine.scheduler import Scheduler
from specialists.engine.slots import SlotPool
from specialists.engine.text import Tokenizer
from specialists.errors import (
    AdapterUnavailable,
    BaseUnavailable,
    EngineError,
    EngineStopped,
)

logger = logging.getLogger(__name__)


LEAST_PAGES = 2


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine.

    Attributes:
        weights: how the base's are held: int8 or int4 in blocks, a dtype, or "auto", the fastest
            for the hardware.
        device: where the base lives, in torch's terms.
        threads: CPU threads of the forward pass; None takes one per core.
        max_rows: rows in a step.
        step_tokens: tokens in a step, so that a long prompt does not hold up the others.
        kv_bytes: for keys and values.
        slot_bytes: for resident adapters.
        max_context: tokens of prompt and answer together; None takes what the base allows.
        finders: adapters whose files are looked for at once, see `Loads`.
        drafts: tokens of an answer that are guessed at once at most, see `Drafts`.
    """

    weights: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    max_rows: int = 32
    step_tokens: int = 512
    kv_bytes: int = 1 << 30
    slot_bytes: int = 1 << 30
    max_context: int | None = None
    finders: int = 1
    drafts: int = 3


class Engine:
    """Steps a mixed batch: schedule, forward, sample, emit."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        locate: LocateAdapter,
        options: EngineOptions,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the weights and the limits.

        Args:
            network: the base.
            tokenizer: the base's.
            locate: finds an adapter's files.
            options: the limits.
            wake: called from another thread when an adapter was loaded.
        """
        self.tokenizer = tokenizer
        pages = options.kv_bytes // network.page_bytes
        self._network = network
        self._pool = PagePool(pages)
        self._slots: SlotPool[Any] = SlotPool(options.slot_bytes)
        self._max_rows = options.max_rows
        if pages < LEAST_PAGES:
            raise BaseUnavailable(
                f"{options.kv_bytes} bytes hold keys and values of {pages * PAGE_TOKENS} tokens; "
                f"{LEAST_PAGES * PAGE_TOKENS} are the least: raise MYRIAD_ENGINE__KV_MIB"
            )
        network.allocate(pages)
        self.vocabulary = network.vocabulary
        self.context = min(
            options.max_context or network.context, network.context, pages * PAGE_TOKENS
        )
        self.grammars = Grammars(tokenizer.state, tokenizer.eos, self.vocabulary)
        self._pace = Pace()
        self._scheduler = Scheduler(
            self._pool, self._slots, options.max_rows, options.step_tokens, self._pace
        )
        longest = options.drafts if network.drafts else 0
        self._drafts = Drafts(longest, options.step_tokens, tokenizer.eos)
        self._steps = self._prompted = self._generated = 0
        self._loads = Loads(
            self._slots, locate, network.adapter_bytes, network.load_adapter, wake, self._pace,
            options.finders,
        )  # fmt: skip

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
        device = torch.device(options.device)
        network = open_network(folder, options.weights, device, options.threads, options.max_rows)
        return cls(network, Tokenizer.from_folder(folder), locate, options, wake=wake)

    def add(self, row: Row) -> None:
        """Queue a row."""
        row.ends = row.params.ends(self.tokenizer.eos)
        self._scheduler.add(row)

    def abort(self, row: Row) -> None:
        """Forget a row and free what it holds; fine if it has ended."""
        self._scheduler.remove(row)

    def prefetch(self, digest: str, *, evicts: bool) -> None:
        """Have an adapter loaded that may be wanted soon, see `Loads.hint`."""
        self._loads.hint(digest, evicts=evicts)

    def step(self) -> bool:
        """Advance every row that can be advanced; False when there was none."""
        runs = by_adapter(self._scheduler.schedule(self._advance_loads()))
        if not runs:
            return False
        self._network.clear(self._pool.take_fresh())
        runs = self._drafted(runs)
        prompts = [Part(run.count, run.row.computed) for run in runs if run.count > 1]
        guessed = sum(len(run.draft) for run in runs)
        scores = any(run.scores for run in runs)
        began = time.monotonic()
        logits = self._network.forward(runs, self._slots)
        self._advance(runs, logits)
        # Not before: what a GPU computes is there when it is looked at.
        if not scores:
            self._pace.stepped(len(runs) - len(prompts), prompts, time.monotonic() - began, guessed)
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
            "adapter_loads_total": self._pace.loads,
            "adapter_evictions_total": self._slots.evicted,
            "prompt_tokens_total": self._prompted,
            "cached_tokens_total": self._scheduler.cached,
            "generated_tokens_total": self._generated,
            "drafted_tokens_total": self._drafts.drafted,
            "accepted_tokens_total": self._drafts.accepted,
            "steps_total": self._steps,
        }

    def report(self) -> Report:
        """Load, pace and residents, for whoever sends requests to one of several engines."""
        step, row = self._pace.step_seconds
        running = len(self._scheduler.running)
        return Report(
            rows=running + len(self._scheduler.waiting),
            capacity=self._capacity(running),
            step=step,
            row=row,
            load=self._pace.load_seconds,
            answer=self._pace.answer_tokens,
            full=self._slots.full,
            resident=marks(self._slots.resident()),
        )

    def check_integrity(self) -> None:
        """Pages and pins add up.

        Raises:
            AssertionError: something was lost or is held twice.
        """
        self._scheduler.check_integrity()

    def _capacity(self, running: int) -> int:
        """Rows that a step can hold, if those to come need as many pages as those that run."""
        used = self._pool.count - self._pool.available
        fitting = running * self._pool.count // used if used else self._max_rows
        return max(min(fitting, self._max_rows), 1)

    def _advance_loads(self) -> str | None:
        """Move loads on; returns the adapter that finds no room, if there is one."""
        waiting = self._scheduler.next_rows(len(self._scheduler.waiting))
        awaited = dict.fromkeys(row.adapter for row in waiting if row.adapter)
        free_rows = max(self._max_rows - len(self._scheduler.running), 1)
        soon = [row.adapter for row in waiting[:free_rows] if row.adapter]
        progress = self._loads.advance(awaited, soon)
        for digest, error in progress.failed.items():
            self._refuse_adapter(digest, error)
        return progress.crowded_out

    def _refuse_adapter(self, digest: str, error: BaseException) -> None:
        trace = None if isinstance(error, StorageError) else error
        logger.error("adapter %s could not be loaded: %s", digest, error, exc_info=trace)
        for row in [row for row in self._scheduler.waiting if row.adapter == digest]:
            self._fail(row, AdapterUnavailable(f"adapter {digest} could not be loaded"))

    def _drafted(self, runs: list[Run]) -> list[Run]:
        """The runs with what is guessed, unless somebody waits to begin, who would wait for it."""
        if any(not row.absent for row in self._scheduler.waiting):
            return runs
        return self._drafts.added(runs, self._pace.guesses.room(len(runs)))

    def _advance(self, runs: list[Run], logits: torch.Tensor) -> None:
        self._steps += 1
        self._prompted += sum(run.of_prompt for run in runs)
        lines = {where: line for line, where in enumerate(wanted(runs))}
        right = [at for at, run in enumerate(runs) if run.samples]
        for at, run in enumerate(runs):
            if run.scores:
                self._score(run, rows_of(logits, [lines[at, place] for place in run.scores]))
            self._scheduler.computed(run.row, run.count)
        depth = 0
        while right:
            places = [lines[at, runs[at].count - 1 + depth] for at in right]
            self._choose([runs[at].row for at in right], rows_of(logits, places))
            right = [at for at in right if self._came_true(runs[at], depth)]
            depth += 1

    def _score(self, run: Run, logits: torch.Tensor) -> None:
        """Tell how likely a prompt's tokens were by logits [tokens, vocabulary], before each."""
        row, first = run.row, run.row.computed + run.scores.start + 1
        tokens = row.tokens[first : first + len(run.scores)]
        for choice in scored(logits, tokens, row.params.prompt_logprobs or 0):
            row.emit(Emission(choice, "", of_prompt=True))
        row.scored = first + len(tokens)

    def _came_true(self, run: Run, depth: int) -> bool:
        """Whether a row goes on with what was guessed, of which the step has computed more."""
        row, draft = run.row, run.draft[depth : depth + 1]
        if row.tokens[-1:] != [*draft] or row not in self._scheduler.running:
            return False
        self._drafts.accepted += 1
        self._scheduler.computed(row, 1)
        return True

    def _choose(self, ends: list[Row], logits: torch.Tensor) -> None:
        """Give each row the token that its logits, [rows, vocabulary], say."""
        # A sum is finite if all its terms are, and overflows only for logits that are lost anyway.
        finite = logits.sum(dim=-1).isfinite()
        if not finite.all():
            lost = AdapterUnavailable("the adapter computes no finite numbers")
            for place in (~finite).nonzero().flatten().tolist():
                self._fail(ends[place], lost)
            ends = [row for row, sound in zip(ends, finite.tolist(), strict=True) if sound]
            logits = logits[finite]
        for row, choice in zip(ends, sample(logits, ends), strict=True):
            try:
                self._extend(row, choice)
            except EngineError as error:
                self._fail(row, error)
            except Exception:
                logger.exception("row %s failed; the others go on", row.id)
                self._fail(row, EngineStopped("the engine failed while it answered"))

    def _extend(self, row: Row, choice: Choice) -> None:
        row.tokens.append(choice.token)
        self._generated += 1
        if row.grammar is not None:
            row.grammar.accept(choice.token)
        if row.budget is not None:
            row.budget.accept(choice.token)
        ended = choice.token in row.ends
        self._drafts.learn(row)
        emission = emitted(
            row.text, choice, self._over(row), ended=ended, cached=row.cached,
            foretold=row.expected.came if row.expected is not None else None,
        )  # fmt: skip
        if emission.finish is not None:
            self._scheduler.remove(row)
            self._pace.answered(row.generated)
        row.emit(emission)

    def _over(self, row: Row) -> FinishReason | None:
        """Why a row is over whatever its last token says; None if it is not."""
        if row.grammar is not None and row.grammar.ended:
            return FinishReason.STOP
        if row.generated >= row.params.max_tokens or len(row.tokens) >= self.context:
            return FinishReason.LENGTH
        return None

    def _fail(self, row: Row, error: EngineError) -> None:
        self._scheduler.remove(row)
        row.emit(Emission(None, "", error=error))
