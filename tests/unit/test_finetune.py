"""Runs of training: stopped, killed and gone on with to the same weights; the best ones kept."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny import tiny_base

from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError, TrainingStopped
from specialists.training.checkpoint import Checkpoint, InFile
from specialists.training.data import Row
from specialists.training.encoding import encode
from specialists.training.finetune import finetune
from specialists.training.learner import ENOUGH_TO_CHOOSE
from specialists.training.recipe import MOST_EPOCHS, Recipe, recipe_for

RECIPE = Recipe(rank=2, epochs=3, batch_size=2, learning_rate=1e-2)


def row(asked: str, said: str) -> Row:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Row.model_validate({"messages": turns})


ROWS = [row(f"the {word}", f"{word} again") for word in ("fox", "dog", "raise", "number", "hello")]
STEPS = RECIPE.steps(len(ROWS))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


class Kept:
    """Keeps in memory, and at every step."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read(self) -> bytes | None:
        return self.content

    def write(self, checkpoint: bytes) -> None:
        self.content = checkpoint


def weights(folder) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def train(base, folder, recipe=RECIPE, report=lambda _: None, **more):
    return finetune(base, ROWS, folder, recipe, report, **more)


@pytest.fixture(scope="module")
def undisturbed(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train(base, folder, validation=ROWS[:2])
    return weights(folder)


def test_the_same_seed_gives_the_same_weights(base, tmp_path, undisturbed):
    train(base, tmp_path / "again", validation=ROWS[:2])
    assert weights(tmp_path / "again") == undisturbed
    other = Recipe(rank=2, epochs=3, batch_size=2, learning_rate=1e-2, seed=1)
    train(base, tmp_path / "other", other, validation=ROWS[:2])
    assert weights(tmp_path / "other") != undisturbed


@settings(max_examples=6, deadline=None)
@given(stops=st.sets(st.integers(1, STEPS - 1), min_size=1, max_size=3))
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    base, tmp_path_factory, undisturbed, stops
):
    folder, kept, steps = tmp_path_factory.mktemp("stopped"), Kept(), []
    for stop in sorted(stops):
        with pytest.raises(TrainingStopped, match=f"step {stop} of {STEPS}"):
            train(
                base,
                folder,
                report=lambda step: steps.append(step.step),
                validation=ROWS[:2],
                keeper=kept,
                stop=lambda stop=stop: steps[-1] == stop,
            )
    assert not list(folder.iterdir())
    trained = train(
        base, folder, report=lambda step: steps.append(step.step), validation=ROWS[:2], keeper=kept
    )
    assert weights(folder) == undisturbed
    assert steps == list(range(1, trained.steps + 1))


def test_a_checkpoint_of_another_run_is_left_alone(base, tmp_path, undisturbed):
    kept = Kept()
    with pytest.raises(TrainingStopped):
        finetune(base, ROWS[:3], tmp_path, RECIPE, lambda _: None, keeper=kept, stop=lambda: True)
    assert Checkpoint.from_bytes(kept.content).step == 1
    train(base, tmp_path, validation=ROWS[:2], keeper=kept)
    assert weights(tmp_path) == undisturbed


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x10" + b"\0" * 40])
def test_a_damaged_checkpoint_is_left_alone(base, tmp_path, undisturbed, content):
    with pytest.raises(ValueError, match="no checkpoint"):
        Checkpoint.from_bytes(content)
    kept = Kept()
    kept.write(content)
    train(base, tmp_path, validation=ROWS[:2], keeper=kept)
    assert weights(tmp_path) == undisturbed


def test_a_file_keeps_the_last_checkpoint(tmp_path):
    keeper = InFile(tmp_path / "runs" / "mine")
    assert keeper.read() is None
    keeper.write(b"one")
    keeper.write(b"two")
    assert keeper.read() == b"two"
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["mine"]


EAGER = Recipe(rank=4, epochs=20, batch_size=2, learning_rate=1e-1, patience=2)
# What contradicts the rows gets worse the better these are learnt.
STRANGERS = [row("the fox", "morning evening"), row("the dog", "quick brown")]


def validated(base, folder, recipe, validation):
    """What was trained, and its validation losses with the steps after which they were found."""
    curve = []

    def report(step):
        if step.validation_loss is not None:
            curve.append((step.step, step.validation_loss))

    return train(base, folder, recipe, report, validation=validation), curve


def test_it_ends_when_validation_stops_falling_and_keeps_the_best(base, tmp_path):
    enough = STRANGERS * (ENOUGH_TO_CHOOSE // 2)
    trained, curve = validated(base, tmp_path, EAGER, enough)
    best, lowest = min(curve, key=lambda point: point[1])
    assert (trained.best_step, trained.validation_loss) == (best, lowest)
    assert trained.steps == curve[-1][0] < EAGER.steps(len(ROWS))
    assert [loss > lowest for _, loss in curve[-2:]] == [True, True]


def test_few_rows_measure_it_and_neither_end_it_nor_choose_its_weights(base, tmp_path):
    few = STRANGERS * (ENOUGH_TO_CHOOSE // 2 - 1)
    trained, curve = validated(base, tmp_path / "measured", replace(EAGER, epochs=6), few)
    train(base, tmp_path / "unmeasured", replace(EAGER, epochs=6))
    last = (trained.steps, curve[-1][1])
    assert (trained.best_step, trained.validation_loss) == last
    assert min(curve, key=lambda point: point[1]) != curve[-1]
    assert weights(tmp_path / "measured") == weights(tmp_path / "unmeasured")


def test_it_goes_on_from_an_adapter(base, tmp_path):
    train(base, tmp_path / "parent")
    none = Recipe(epochs=1, learning_rate=0.0)
    train(base, tmp_path / "child", none, parent=tmp_path / "parent")
    config = json.loads((tmp_path / "child" / "adapter_config.json").read_text())
    assert config["r"] == 2
    parent, child = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("parent", "child")
    )
    assert all(parent[name].equal(child[name]) for name in parent)


def test_tokens_are_counted_as_if_rows_were_apart(base, tmp_path):
    trained = train(base, tmp_path)
    tokenizer = Tokenizer.from_folder(base.folder)
    whole = sum(len(encode(each, tokenizer, 512).tokens) for each in ROWS)
    assert trained.tokens == RECIPE.epochs * whole


def test_rows_that_are_too_long_are_left_out_and_counted(base, tmp_path):
    short = Recipe(rank=2, epochs=1, max_tokens=30)
    long = row("the fox " * 20, "dog")
    trained = finetune(base, [*ROWS, long], tmp_path, short, lambda _: None)
    assert (trained.rows, trained.left_out) == (len(ROWS), 1)
    with pytest.raises(TrainingDataError, match="every row is longer than 30 tokens"):
        finetune(base, [long], tmp_path, short, lambda _: None)


@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_of_few_rows_more_passes_are_made(effort):
    few, some, many = (recipe_for(rows, effort) for rows in (8, 200, 20_000))
    assert few.epochs == MOST_EPOCHS
    assert few.epochs > some.epochs >= many.epochs
    assert many.batch_size > some.batch_size
    assert recipe_for(200, "thorough").steps(200) > recipe_for(200, "quick").steps(200)
