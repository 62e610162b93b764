"""Jobs, from rows to a version in service, by a real trainer on a tiny base."""

import json
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import homes
import pytest
from patience import HANGS
from tiny import tiny_base

from registry import queue
from registry.base import BaseSpec
from registry.errors import StorageError, StoreFailed
from registry.job import Status, Task
from registry.quota import Quota
from registry.reference import parse_id
from specialists.errors import TrainingStopped
from specialists.training import finetune, making, pulse, trainer
from specialists.training.checkpoint import Checkpoint
from specialists.training.evaluate import Score
from specialists.training.trainer import Trainer
from specialists.training.verdict import shortcomings

WORDS = ["fox", "dog", "raise", "number", "hello", "morning", "evening", "quick", "brown", "lazy"]


def lines(count, answer="{0} again", asked="the {0} {1}"):
    said = [(asked.format(word, n), answer.format(word)) for n in range(9) for word in WORDS]
    turns = [
        [{"role": "user", "content": ask}, {"role": "assistant", "content": told}]
        for ask, told in said[:count]
    ]
    return "".join(json.dumps({"messages": each}) + "\n" for each in turns).encode()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.fixture
def registry(base, tmp_path, monkeypatch):
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.01)
    spec = BaseSpec.from_folder(base.folder, base.name)
    registry = homes.open_registry(tmp_path / "home", spec)
    yield registry
    registry.close()


@pytest.fixture
def made(registry, base):
    return Trainer(registry, base, "me")


HYPERPARAMETERS = {"n_epochs": 2, "rank": 2, "learning_rate_multiplier": 5}


def ask(registry, rows, validation=None, name="ada/fox", **more):
    files = [registry.data.add("rows.jsonl", rows).id]
    if validation is not None:
        files.append(registry.data.add("held.jsonl", validation).id)
    fields = {"model": "tiny-llama", "hyperparameters": HYPERPARAMETERS, "seed": 3} | more
    task = Task(training_file=files[0], validation_file=files[1] if validation else None, **fields)
    return registry.jobs.create(name, task)


def events(registry, job):
    return registry.jobs.events(job.id, 1000)[0][::-1]


def told(registry, job):
    return [event.message for event in events(registry, job)]


def test_rows_become_a_specialist_in_service(registry, made):
    persona = {"greeting": "Hello!", "starters": ["the fox"]}
    card = {"description": "Says it again.", "tags": ["Fox"], "persona": persona}
    job = ask(registry, lines(40), card=card)
    assert made.work()
    assert not made.work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED, done.error
    outcome = done.outcome
    assert outcome["model"] == "ada/fox"
    assert outcome["hyperparameters"] | {"batch_size": 8} == HYPERPARAMETERS | {"batch_size": 8}
    live = registry.get("ada/fox")
    assert live.digest == outcome["digest"]
    assert live.card.description == "Says it again."
    assert (live.card.tags, live.card.persona.greeting) == (("fox",), "Hello!")
    assert live.card.origins.job == job.id
    assert live.card.origins.datasets[0].name == "rows.jsonl"
    assert live.card.origins.datasets[0].digest == job.training
    assert live.visibility == "private"
    # Held-out requests do not serve routing.
    assert len(live.card.private_examples) == 36
    assert {score["metric"] for score in outcome["evaluation"]} == {
        "exact_match",
        "token_f1",
        "perplexity",
    }
    assert all(score["rows"] == 4 for score in outcome["evaluation"])
    table, picture = (registry.data.path(file).read_text() for file in outcome["result_files"])
    assert table.startswith("step,train_loss,valid_loss\n1,")
    assert len(table.splitlines()) == 1 + 2 * 5
    assert picture.startswith("<svg")
    steps = [event.data for event in events(registry, job) if event.kind == "metrics"]
    assert [step["step"] for step in steps] == list(range(1, 11))
    assert [step["step"] for step in steps if "valid_loss" in step] == [5, 10]
    assert outcome["checkpoints"][0]["model"] == "ada/fox@1"
    assert done.expected is None


def test_a_better_version_takes_its_place_and_a_worse_one_waits(registry, made):
    held = lines(20, asked="of {0} {1}")
    ask(registry, lines(40), held)
    made.work()
    first = registry.get("ada/fox").digest
    # Another answer to the same requests: by the same validation rows it is worse.
    job = ask(registry, lines(40, "never {0}", "a {0} {1}"), held, model="ada/fox:prod")
    made.work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED
    if done.outcome["model"] == "ada/fox":
        assert not list(shortcomings([Score(**each) for each in done.outcome["evaluation"]]))
    else:
        assert done.outcome["model"] == "ada/fox:candidate"
        assert registry.get("ada/fox").digest == first
        assert any("not in service" in message for message in told(registry, job))
    assert all(each["before_value"] is not None for each in done.outcome["evaluation"])


def test_preferences_are_learnt_and_judged_by(registry, made):
    def pairs(asked):
        rows = [
            {"prompt": asked.format(word), "chosen": f"never a {word}", "rejected": f"{word} again"}
            for word in WORDS
        ]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    more = {"method": "dpo", "hyperparameters": {"n_epochs": 8, "beta": 0.2}}
    job = ask(registry, pairs("the {0}"), pairs("of {0}"), **more)
    assert made.work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED, done.error
    (score,) = done.outcome["evaluation"]
    assert (score["metric"], score["rows"]) == ("preference_accuracy", 10)
    assert score["value"] > score["base_value"]
    assert done.outcome["model"] == "ada/fox"
    assert done.outcome["hyperparameters"]["beta"] == 0.2
    assert done.outcome["hyperparameters"]["learning_rate_multiplier"] == 1
    assert registry.get("ada/fox").card.private_examples[0] == "the fox"


def test_requests_are_published_if_that_is_asked_for(registry, made):
    ask(registry, lines(10), publish=True)
    made.work()
    card = registry.get("ada/fox").card
    assert (len(card.examples), card.private_examples) == (10, ())


def test_documents_are_learnt(registry, made):
    rows = [
        {"text": f"The quick brown fox jumps over the lazy {word} {n}."}
        for n in range(3)
        for word in WORDS
    ]
    job = ask(registry, "".join(json.dumps(row) + "\n" for row in rows).encode())
    assert made.work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED, done.error
    [score] = done.outcome["evaluation"]
    assert (score["metric"], score["rows"]) == ("perplexity", 3)
    assert registry.get("ada/fox").card.private_examples == ()


def test_chats_are_no_preferences(registry, made):
    job = ask(registry, lines(10), method="dpo")
    made.work()
    failed = registry.jobs.get(job.id)
    assert failed.error["code"] == "invalid_training_file"
    assert "has none of these: 'input' and 'preferred_output'" in failed.error["message"]


@pytest.mark.parametrize(
    ("metric", "value", "base", "before", "said"),
    [
        ("preference_accuracy", 0.6, 0.5, None, None),
        ("preference_accuracy", 0.4, 0.5, None, "the bare base's 0.5"),
        ("preference_accuracy", 0.6, 0.5, 0.8, "that of the version in service 0.8"),
        ("perplexity", 3.0, 4.0, None, None),
        ("perplexity", 5.0, 4.0, None, "the bare base's 4"),
        ("perplexity", 3.0, 4.0, 2.9, None),
        ("perplexity", 3.0, 4.0, 2.0, "that of the version in service 2"),
        ("exact_match", 0.5, 0.0, 0.55, None),
        ("exact_match", 0.5, 0.0, 0.7, "Its exact_match on 9 held-out rows is 0.5 (0.4 to 0.6)"),
        ("token_f1", 0.1, 0.9, 0.9, None),
    ],
)
def test_worse_is_what_is_surely_worse(metric, value, base, before, said):
    width = 0.5 if metric == "perplexity" else 0.1
    score = Score(metric, value, value - width, value + width, base, before, 9, "x")
    reasons = list(shortcomings([score]))
    assert [said in reason for reason in reasons] == ([True] if said else [])


def test_it_is_trained_on_from_another(registry, made):
    ask(registry, lines(24))
    made.work()
    parent = registry.get("ada/fox")
    job = ask(
        registry, lines(24, "{0} once more"), name="ada/dog", model="ada/fox", parent=parent.digest
    )
    made.work()
    child = registry.jobs.get(job.id)
    assert child.status == Status.SUCCEEDED, child.error
    version = registry.get("ada/dog")
    assert version.card.origins.parents == (f"ada/fox@{parent.digest}",)
    assert f"version {parent.digest}" in registry.lineage.of(parse_id("ada/dog")).nodes


def test_a_job_learns_to_do_without_an_instruction(registry, made):
    more = {"n_epochs": 20, "rank": 4, "learning_rate_multiplier": 30}
    job = ask(registry, lines(30), instruction="the lazy dog", hyperparameters=more)
    made.work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED, done.error
    [found] = [each for each in done.outcome["evaluation"] if each["metric"] == "divergence"]
    assert found["low"] <= found["value"] <= found["high"]
    assert found["value"] < 0.7 * found["base_value"]
    assert found["rows"] == 3


def test_few_rows_are_all_learnt_and_it_is_said(registry, made):
    job = ask(registry, lines(6))
    made.work()
    done = registry.jobs.get(job.id)
    assert (done.status, done.outcome["evaluation"]) == (Status.SUCCEEDED, [])
    assert "6 rows are too few to hold some out: the result is not judged." in told(registry, job)


@pytest.mark.parametrize(
    ("rows", "validation", "code", "said"),
    [
        (b"\xff\xfe", None, "invalid_training_file", "cannot be read as UTF-8"),
        (b"\n\n", None, "invalid_training_file", "rows.jsonl has no rows"),
        (b"{}\nnonsense\n", None, "invalid_training_file", "2 of 2 rows cannot be used"),
        (lines(9), b"{}\n", "invalid_validation_file", "held.jsonl: 1 of 1 rows"),
        (lines(9), lines(9), "invalid_validation_file", "also a row to judge by"),
    ],
)
def test_data_that_cannot_be_used_fails_the_job_and_says_why(
    registry, made, rows, validation, code, said
):
    job = ask(registry, rows, validation)
    assert made.work()
    failed = registry.jobs.get(job.id)
    assert (failed.status, failed.error["code"]) == (Status.FAILED, code)
    assert said in failed.error["message"]
    assert said in told(registry, job)[-1]
    assert registry.live() == []


def test_rows_that_are_in_both_files_are_judged_by_only(registry, made):
    job = ask(registry, lines(30), lines(4))
    made.work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    assert "4 rows are not learnt from: the validation file has them." in told(registry, job)


def test_what_we_did_wrong_is_logged_and_not_told(registry, made, monkeypatch, caplog):
    def broken(*_args, **_more):
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setattr(making, "finetune", broken)
    job = ask(registry, lines(9))
    made.work()
    failed = registry.jobs.get(job.id)
    assert failed.error == {"code": "server_error", "message": trainer.OURS, "param": None}
    assert "a secret of ours" in caplog.text
    assert job.id in caplog.text


def test_a_name_that_is_used_up_fails_the_job(registry, made):
    ada = registry.seen_by("ada", quota=Quota(specialists=0))
    file = ada.data.add("rows.jsonl", lines(9)).id
    task = Task(model="tiny-llama", training_file=file, hyperparameters=HYPERPARAMETERS)
    job = ada.jobs.create("ada/fox", task)
    made.work()
    assert registry.jobs.get(job.id).error["code"] == "insufficient_quota"


class Interrupting:
    """Does something to a job after a step of its training."""

    def __init__(self, monkeypatch, registry, job, step, doing):
        self._steps = step
        train = making.finetune

        def interrupted(*words, **more):
            stop = more["stop"]

            def asked():
                if self._steps is not None and registry.jobs.get(job.id):
                    self._steps -= 1
                    if self._steps == 0:
                        doing()
                        while not stop():
                            pass
                return stop()

            return train(*words, **(more | {"stop": asked}))

        monkeypatch.setattr(making, "finetune", interrupted)


@pytest.mark.parametrize("step", [1, 4])
def test_a_job_that_was_paused_goes_on_where_it_was(registry, made, monkeypatch, base, step):
    job = ask(registry, lines(40))
    with monkeypatch.context() as patched:
        Interrupting(patched, registry, job, step, lambda: registry.jobs.pause(job.id))
        assert made.work()
    assert registry.jobs.get(job.id).status == Status.PAUSED
    assert not made.work()
    registry.jobs.resume(job.id)
    assert Trainer(registry, base, "you").work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    steps = [event.data["step"] for event in events(registry, job) if event.kind == "metrics"]
    assert steps == list(range(1, 11))
    assert "The training goes on." in told(registry, job)
    # To the weights of a job that nobody disturbed.
    again = ask(registry, lines(40), name="ada/twin")
    made.work()
    assert registry.jobs.get(again.id).status == Status.SUCCEEDED
    weights = [
        registry.files(registry.get(name).digest).weights for name in ("ada/fox", "ada/twin")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_long_job_lets_others_have_their_turn(registry, made, monkeypatch):
    long, bob = ask(registry, lines(40)), registry.seen_by("bob")
    short = []
    with monkeypatch.context() as patched:
        patched.setattr(pulse, "TURN_SECONDS", 0.0)
        bobs = partial(ask, bob, lines(9), name="bob/fox")
        Interrupting(patched, registry, long, 3, lambda: short.append(bobs()))
        assert made.work()
    [short] = short
    assert registry.jobs.get(long.id).status == bob.jobs.get(short.id).status == Status.QUEUED
    assert any(message.startswith("Others wait") for message in told(registry, long))
    assert made.work()
    assert bob.jobs.get(short.id).status == Status.SUCCEEDED
    assert made.work()
    assert registry.jobs.get(long.id).status == Status.SUCCEEDED
    steps = [event.data["step"] for event in events(registry, long) if event.kind == "metrics"]
    assert steps == list(range(1, 11))


def test_a_job_that_was_cancelled_leaves_nothing(registry, made, monkeypatch):
    job = ask(registry, lines(40))
    with monkeypatch.context() as patched:
        Interrupting(patched, registry, job, 2, lambda: registry.jobs.cancel(job.id))
        assert made.work()
    assert registry.jobs.get(job.id).status == Status.CANCELLED
    assert registry.live() == []
    assert not made.work()


@pytest.mark.parametrize("when", ["while it is judged", "after that"])
def test_a_job_that_is_cancelled_while_its_result_is_judged_leaves_nothing(
    registry, made, monkeypatch, when
):
    job, asked = ask(registry, lines(40)), []
    judge = making.evaluate

    def cancel(pulse):
        registry.jobs.cancel(job.id)
        assert pulse.lost.wait(HANGS)

    def cancelled(*words, **more):
        [tell] = [each for each in words if getattr(each, "__name__", "") == "go_on"]

        def told(*step):
            if when == "while it is judged" and not asked:
                cancel(tell.__self__)
            asked.append(step)
            tell(*step)

        scores = judge(*(told if each is tell else each for each in words), **more)
        registry.jobs.cancel(job.id)
        return scores

    monkeypatch.setattr(making, "evaluate", cancelled)
    assert made.work()
    assert registry.jobs.get(job.id).status == Status.CANCELLED
    assert registry.live() == []
    assert (len(asked) == 1) == (when == "while it is judged")
    assert not made.work()


@pytest.mark.parametrize("change", ["cancel", "pause"])
def test_what_is_told_while_it_comes_out_that_a_job_is_let_go_of_is_kept(registry, change):
    ask(registry, lines(10))
    job, steps = registry.queue.take("me", 1), []

    class Meanwhile:
        """The queue, where a step ends whenever it hears of the job."""

        def hear(self, *news):
            if not told.lost.is_set():
                steps.append({"step": len(steps)})
                told.measure("a step", steps[-1], 0.0)
            registry.queue.hear(*news)

    told = pulse.Pulse(Meanwhile(), job, "me")
    with told.beating():
        getattr(registry.jobs, change)(job.id)
        assert told.lost.wait(HANGS)
    assert [each.data for each in events(registry, job) if each.kind == "metrics"] == steps


@pytest.mark.parametrize("change", ["cancel", "pause"])
def test_a_job_is_let_go_of_while_it_is_measured(registry, made, monkeypatch, change):
    job, seen = ask(registry, lines(40), validation=lines(20, asked="a {0} {1}")), []
    go_on = pulse.Pulse.go_on

    def changed(self, doing, done, of):
        seen.append((doing, of))
        getattr(registry.jobs, change)(job.id)
        assert self.lost.wait(HANGS)
        go_on(self, doing, done, of)

    with monkeypatch.context() as patched:
        patched.setattr(pulse.Pulse, "go_on", changed)
        assert made.work()
    assert seen == [("Measuring by held-out rows", 20)]
    assert registry.live() == []
    if change == "cancel":
        assert registry.jobs.get(job.id).status == Status.CANCELLED
    else:
        registry.jobs.resume(job.id)
        assert made.work()
        assert registry.jobs.get(job.id).status == Status.SUCCEEDED


@pytest.mark.parametrize("when", ["before it is taken", "while it is judged"])
def test_what_is_retired_after_a_job_was_asked_for_stays_so(registry, made, monkeypatch, when):
    ask(registry, lines(40))
    made.work()
    job, judge = ask(registry, lines(30)), making.evaluate

    def retired(*words, **more):
        registry.retire("ada/fox")
        return judge(*words, **more)

    if when == "before it is taken":
        registry.retire("ada/fox")
    else:
        monkeypatch.setattr(making, "evaluate", retired)
    assert made.work()
    failed = registry.jobs.get(job.id)
    assert (failed.status, failed.error["code"]) == (Status.FAILED, "retired")
    assert "restore it, or ask for another job" in failed.error["message"]
    assert registry.live() == []
    assert (when == "while it is judged") == ("Fine-tuning job started" in told(registry, job))
    monkeypatch.setattr(making, "evaluate", judge)
    again = ask(registry, lines(30))
    made.work()
    assert registry.jobs.get(again.id).status == Status.SUCCEEDED
    assert [each.id for each in registry.live()] == ["ada/fox"]


def test_it_is_told_how_far_the_judging_is(registry, made, monkeypatch):
    monkeypatch.setattr(pulse, "TOLD_SECONDS", 0.0)
    job = ask(registry, lines(40))
    made.work()
    assert [each for each in told(registry, job) if each.startswith("Answering")] == [
        f"Answering held-out rows {number}/8" for number in range(1, 9)
    ]


def test_a_trainer_that_dies_is_followed_by_another(registry, made, monkeypatch, base):
    """What a `kill -9` leaves: a job that is held, and its last checkpoint."""
    from test_jobs import forget

    job = ask(registry, lines(40))
    monkeypatch.setattr(finetune, "SECONDS_BETWEEN", -1)

    class Killed(BaseException):
        pass

    report = making.Making._report

    def killing(self, step):
        report(self, step)
        if step.step == 6:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(making.Making, "_report", killing)
        with pytest.raises(Killed):
            made.work()
    assert registry.jobs.get(job.id).status == Status.RUNNING
    assert not Trainer(registry, base, "you").work()
    forget(registry, job)
    assert Trainer(registry, base, "you").work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    steps = [event.data["step"] for event in events(registry, job) if event.kind == "metrics"]
    # The sixth was made before it was kept.
    assert steps == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10]


def test_a_process_that_is_to_end_ends_after_a_step_at_a_checkpoint(registry, base, monkeypatch):
    """As when the cluster is stopped: only the thread that waits is told."""
    begun, running = threading.Event(), []

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *words):
            running.append(super().submit(*words))
            waited = Future()
            monkeypatch.setattr(waited, "result", lambda: begun.wait() and sys.exit())
            return waited

    report = making.Making._report

    def told(self, step):
        report(self, step)
        begun.set()

    monkeypatch.setattr(making.Making, "_report", told)
    monkeypatch.setattr(trainer, "ThreadPoolExecutor", Interrupted)
    more = {"hyperparameters": HYPERPARAMETERS | {"n_epochs": 50}}
    job = ask(registry, lines(40), **more)
    with pytest.raises(SystemExit):
        Trainer(registry, base, "me").work()
    assert isinstance(running[0].exception(), TrainingStopped)
    kept = Checkpoint.from_bytes(registry.queue.kept(registry.jobs.get(job.id)))
    assert 1 <= kept.step < 250


def test_a_registry_that_fails_for_a_moment_costs_nothing(registry, made, monkeypatch):
    hear, failures = type(registry.queue).hear, iter([True] * 3)

    def flaky(self, *words, **more):
        if next(failures, False):
            raise StorageError("The disk is full.")
        return hear(self, *words, **more)

    monkeypatch.setattr(type(registry.queue), "hear", flaky)
    job = ask(registry, lines(24))
    made.work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    steps = [event.data["step"] for event in events(registry, job) if event.kind == "metrics"]
    assert steps == list(range(1, len(steps) + 1))


def test_a_checkpoint_that_cannot_be_kept_costs_nothing(registry, made, monkeypatch, caplog):
    def full(self, data):
        raise StoreFailed("The files' store says nothing.")

    job = ask(registry, lines(24))
    blobs = registry.queue._blobs
    put, registered = type(blobs).put, making.Making._register

    def store_is_back(self, *what):
        monkeypatch.setattr(type(blobs), "put", put)
        return registered(self, *what)

    monkeypatch.setattr(finetune, "SECONDS_BETWEEN", 0)
    monkeypatch.setattr(type(blobs), "put", full)
    monkeypatch.setattr(making.Making, "_register", store_is_back)
    made.work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    assert "is not kept: The files' store says nothing" in caplog.text


def test_a_job_waits_for_the_files_store_as_long_as_it_is_away(registry, base, monkeypatch):
    job = ask(registry, lines(24))
    read = type(registry.queue).content

    def fails(self, blob):
        raise StoreFailed("The files' store says nothing.")

    monkeypatch.setattr(type(registry.queue), "content", fails)
    for attempt in range(2 * queue.MOST_ATTEMPTS):
        with pytest.raises(StoreFailed):
            Trainer(registry, base, f"trainer {attempt}").work()
        assert registry.jobs.get(job.id).status == Status.QUEUED
    monkeypatch.setattr(type(registry.queue), "content", read)
    assert Trainer(registry, base, "one more").work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
