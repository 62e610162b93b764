"""Fine-tuning: a LoRA adapter from chats, pairs or documents, as a plain PEFT folder.

A run can be stopped after any step, or killed, and gone on with to the same weights: what it is
at a step stands in its checkpoint, and which rows a step learns from follows from the seed alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specialists.base import Base
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError, TrainingStopped
from specialists.progress import Progress as Told
from specialists.progress import silent
from specialists.training.checkpoint import Forgetful, Keeper
from specialists.training.courtesy import between_layers
from specialists.training.encoding import encode_all, examples_of
from specialists.training.learner import Learner, Step
from specialists.training.lessons import Lesson
from specialists.training.lora_network import save_adapter, with_adapter
from specialists.training.lora_product import add_by_products
from specialists.training.objective import with_leads
from specialists.training.recipe import Recipe

SECONDS_BETWEEN = 30
"""From one checkpoint to the next: what a killed run does again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of training.

    Attributes:
        step: from 1.
        steps: in all.
        loss: mean over the lessons of this step's rows, in nats (see `objective.py`).
        accuracy: share of these lessons in which what is wanted was the likeliest.
        tokens_per_second: of the whole chats, prompts included.
        seconds_left: an estimate.
        validation_loss: as `loss`, over the validation rows; known at the end of an epoch.
    """

    step: int
    steps: int
    loss: float
    accuracy: float
    tokens_per_second: float
    seconds_left: float
    validation_loss: float | None = None


@dataclass(frozen=True)
class Trained:
    """A finished adapter.

    Attributes:
        folder: `adapter_config.json` and `adapter_model.safetensors`.
        rows: that were learnt from.
        left_out: rows longer than the recipe allows.
        steps: that were made; fewer than planned when validation stopped it.
        best_step: after which step its weights were as they are: the last one, unless enough
            validation rows say which was best.
        loss: mean of the last tenth of the steps.
        validation_loss: of its weights; None without validation rows.
        tokens: that were read while it was trained.
        seconds: that it took, since it was begun or gone on with.
        losses: of every step.
        validation: the validation losses, by the steps after which they were found.
    """

    folder: Path
    rows: int
    left_out: int
    steps: int
    best_step: int
    loss: float
    validation_loss: float | None
    tokens: int
    seconds: float
    losses: Sequence[float]
    validation: Mapping[int, float]


def finetune(
    base: Base,
    rows: Sequence[Lesson],
    folder: Path,
    recipe: Recipe,
    report: Callable[[Progress], None],
    *,
    validation: Sequence[Lesson] = (),
    parent: Path | None = None,
    instruction: str | None = None,
    keeper: Keeper | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], None] | None = None,
    measured: Told = silent,
) -> Trained:
    """Train an adapter on the assistant's turns of chats, or on others, and write it to `folder`.

    Args:
        base: what it is an adapter of.
        rows: what is learnt: chats, documents, or pairs, whose reference is the parent or the base.
        folder: where the result goes.
        recipe: how it is learnt.
        report: told after each step.
        validation: rows that it is measured by after each epoch; `ENOUGH_TO_CHOOSE` of them say
            after which one it was best, and when it is enough.
        parent: folder of an adapter to go on from, in the place of a new one.
        instruction: what the base was told that gave the answers: the adapter learns to answer
            without it as the base does with it (see `objective.py`); None learns the answers.
        keeper: of its checkpoints; a run that it knows is gone on with.
        stop: asked after each step whether to end here, with a checkpoint.
        pause: called before each layer is computed; it may take its time.
        measured: told after some validation rows; what it raises ends the run without a checkpoint.

    Raises:
        TrainingDataError: no row is short enough.
        TrainingStopped: `stop` said so.
    """
    tokenizer = Tokenizer.from_folder(base.folder)
    limit = recipe.max_tokens
    each = [examples_of(row, tokenizer, limit, instruction) for row in rows]
    examples = [example for examples in each for example in examples]
    if not examples:
        raise TrainingDataError(f"every row is longer than {limit} tokens")
    held = encode_all(validation, tokenizer, limit, instruction)
    network = add_by_products(with_adapter(base, recipe, parent))
    if pause is not None:
        between_layers(network, pause)
    learnt, judged = with_leads(network, examples), with_leads(network, held)
    learner = Learner(network, learnt, judged, recipe, measured)
    keeper = keeper or Forgetful()
    learner.go_on_from(keeper.read())
    started = time.monotonic()
    _steps(learner, report, keeper, stop)
    learner.take_best()
    save_adapter(learner.network, base, folder)
    left_out = sum(not examples for examples in each)
    return _trained(learner, folder, len(rows) - left_out, left_out, time.monotonic() - started)


def _steps(
    learner: Learner, report: Callable[[Progress], None], keeper: Keeper, stop: Callable[[], bool]
) -> None:
    began = kept = time.monotonic()
    before, tokens = learner.now.step, 0
    while not learner.done:
        step = learner.step()
        tokens += step.tokens
        now = time.monotonic()
        report(_progress(learner, step, before, tokens, now - began))
        stopped = stop()
        if stopped or now - kept > SECONDS_BETWEEN:
            keeper.write(learner.checkpoint().to_bytes())
            kept = now
        if stopped:
            raise TrainingStopped(f"stopped after step {learner.now.step} of {learner.steps}")


def _progress(learner: Learner, step: Step, before: int, tokens: int, seconds: float) -> Progress:
    """How far it is, having read so many tokens in so many seconds since the step `before`."""
    made, left = learner.now.step - before, learner.steps - learner.now.step
    return Progress(
        step=learner.now.step,
        steps=learner.steps,
        loss=step.loss,
        accuracy=step.accuracy,
        tokens_per_second=tokens / seconds,
        seconds_left=seconds / made * left,
        validation_loss=step.held,
    )


def _trained(learner: Learner, folder: Path, rows: int, left_out: int, seconds: float) -> Trained:
    now = learner.now
    tail = now.losses[-max(len(now.losses) // 10, 1) :]
    return Trained(
        folder=folder,
        rows=rows,
        left_out=left_out,
        steps=now.step,
        best_step=learner.best_step,
        loss=sum(tail) / len(tail),
        validation_loss=learner.validation_loss,
        tokens=now.tokens,
        seconds=seconds,
        losses=now.losses,
        validation={at * learner.epoch_steps: loss for at, loss in enumerate(now.validation, 1)},
    )
