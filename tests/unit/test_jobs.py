"""Files and jobs: whose they are, who trains next, and that no trainer's word outlives its hold."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import homes
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update
from tiny_adapter import BASE

from registry import archive, queue
from registry.clock import now
from registry.data_files import LONGEST_NAME
from registry.errors import (
    Conflict,
    InvalidInput,
    InvalidReference,
    Lost,
    NotOwned,
    QuotaExceeded,
    UnknownObject,
)
from registry.job import ENDED, UNDER_WAY, Status, Task
from registry.jobs import MOST_WAITING
from registry.quota import Quota
from registry.registry import Registry
from registry.tables import jobs

ROWS = b'{"messages": []}\n'


def ask(registry, name="ada/coach", file=None, **more):
    training = file or registry.data.add("rows.jsonl", ROWS).id
    return registry.jobs.create(name, Task(model="auto", training_file=training, **more))


def forget(registry, job):
    """Let a job's holder not have been heard of for long."""
    with registry.jobs._database.write() as connection:
        past = now() - timedelta(seconds=1)
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(until=past))


def messages(registry, job):
    return [event.message for event in registry.jobs.events(job.id, 100)[0]]


def test_a_file_is_kept_listed_and_forgotten(registry):
    kept = [registry.data.add(f"{number}.jsonl", ROWS * number) for number in (1, 2, 3)]
    assert registry.data.path(kept[1].id).read_bytes() == ROWS * 2
    assert registry.data.get(kept[0].id) == kept[0]
    assert registry.data.list(2) == ([kept[2], kept[1]], True)
    assert registry.data.list(2, after=kept[1].id) == ([kept[0]], False)
    assert registry.data.list(5, oldest_first=True) == (kept, False)
    assert registry.data.list(5, kept[0].id, oldest_first=True) == (kept[1:], False)
    assert registry.data.list(5, purpose="other") == ([], False)
    registry.data.remove(kept[1].id)
    for lost in (registry.data.get, registry.data.path, registry.data.remove):
        with pytest.raises(UnknownObject, match=kept[1].id):
            lost(kept[1].id)
    with pytest.raises(UnknownObject):
        registry.data.list(5, after=kept[1].id)


@pytest.mark.parametrize("name", ["", "x" * (LONGEST_NAME + 1), "a\nb"])
def test_a_file_needs_a_name(registry, name):
    with pytest.raises(InvalidInput, match="Name the file"):
        registry.data.add(name, ROWS)


def test_an_empty_file_is_refused(registry):
    with pytest.raises(InvalidInput, match="is empty"):
        registry.data.add("rows.jsonl", b"")


def test_what_an_owner_may_keep_is_bounded(registry):
    ada = registry.seen_by("ada", quota=Quota(bytes=len(ROWS) + 1))
    ada.data.add("rows.jsonl", ROWS)
    with pytest.raises(QuotaExceeded):
        ada.data.add("more.jsonl", ROWS)
    registry.seen_by("bob", quota=Quota(bytes=len(ROWS) + 1)).data.add("rows.jsonl", ROWS)


def test_others_files_and_jobs_are_as_if_they_were_not(registry):
    ada, bob = registry.seen_by("ada"), registry.seen_by("bob")
    job = ask(ada)
    for seen in (bob.data.list(9), bob.jobs.list(9)):
        assert seen == ([], False)
    for asked in (bob.jobs.get, bob.jobs.cancel, bob.jobs.pause, bob.jobs.resume):
        with pytest.raises(UnknownObject):
            asked(job.id)
    with pytest.raises(UnknownObject):
        bob.jobs.events(job.id, 9)
    with pytest.raises(UnknownObject):
        ask(bob, "bob/coach", file=job.task.training_file)
    with pytest.raises(NotOwned):
        ask(bob, "ada/coach")
    assert [each.id for each in registry.jobs.list(9)[0]] == [job.id]


def test_a_job_asks_for_a_name_and_files_that_are_there(registry):
    with pytest.raises(InvalidReference):
        ask(registry, "coach")
    with pytest.raises(UnknownObject, match="file-none"):
        ask(registry, file="file-none")
    with pytest.raises(UnknownObject, match="file-none"):
        ask(registry, validation_file="file-none")


def test_jobs_are_listed_by_what_their_askers_noted(registry):
    asked = [ask(registry, metadata={"team": team}) for team in ("a", "b", "a")]
    found, more = registry.jobs.list(9, metadata={"team": "a"})
    assert ([job.id for job in found], more) == ([asked[2].id, asked[0].id], False)
    assert [job.id for job in registry.jobs.list(1)[0]] == [asked[2].id]
    assert [job.id for job in registry.jobs.list(9, after=asked[2].id)[0]] == [
        asked[1].id,
        asked[0].id,
    ]


def test_so_many_jobs_of_an_owner_wait_and_no_more(registry):
    ada = registry.seen_by("ada")
    first = ask(ada)
    for _ in range(MOST_WAITING - 1):
        ask(ada, file=first.task.training_file)
    with pytest.raises(QuotaExceeded):
        ask(ada, file=first.task.training_file)
    ada.jobs.cancel(first.id)
    ask(ada, file=first.task.training_file)


def test_a_job_from_its_beginning_to_its_end(registry):
    job = ask(registry)
    assert job.status == Status.QUEUED
    assert registry.queue.waits()
    taken = registry.queue.take("me")
    assert (taken.id, taken.status) == (job.id, Status.VALIDATING)
    assert not registry.queue.waits()
    assert registry.queue.take("you") is None
    soon = now()
    step = ("info", "metrics", "Step 1/2: training loss=1.0", {"step": 1})
    registry.queue.hear(taken, "me", Status.RUNNING, soon, [step])
    assert registry.jobs.get(job.id).status == Status.RUNNING
    assert registry.jobs.get(job.id).expected is not None
    registry.queue.keep(taken, "me", b"half way")
    assert registry.queue.kept(taken) == b"half way"
    registry.queue.succeed(taken, "me", {"model": "ada/coach"})
    done = registry.jobs.get(job.id)
    assert (done.status, done.outcome) == (Status.SUCCEEDED, {"model": "ada/coach"})
    assert done.ended is not None
    assert done.expected is None
    events, more = registry.jobs.events(job.id, 2)
    assert [event.message for event in events] == [
        "The job has successfully completed",
        "Step 1/2: training loss=1.0",
    ]
    assert (events[1].kind, events[1].data, more) == ("metrics", {"step": 1}, True)
    older, more = registry.jobs.events(job.id, 9, after=events[1].id)
    assert ([event.message for event in older][-1], more) == (
        f"Created fine-tuning job: {job.id}",
        False,
    )
    for none in ("ftevent-x", "7", "ftevent-" + "9" * 30):
        with pytest.raises(UnknownObject):
            registry.jobs.events(job.id, 9, after=none)


def test_a_holder_that_is_not_heard_of_is_given_up(registry):
    job = ask(registry)
    taken = registry.queue.take("me")
    registry.queue.keep(taken, "me", b"half way")
    forget(registry, job)
    again = registry.queue.take("you")
    assert registry.queue.kept(again) == b"half way"
    for word in (
        lambda: registry.queue.hear(taken, "me", Status.RUNNING),
        lambda: registry.queue.keep(taken, "me", b"mine"),
        lambda: registry.queue.succeed(taken, "me", {}),
        lambda: registry.queue.fail(taken, "me", "x", "x", None),
    ):
        with pytest.raises(Lost, match="held by you"):
            word()
    registry.queue.release(taken, "me")
    assert registry.queue.take("third") is None
    assert messages(registry, job)[0] == "The training goes on."


def test_a_job_that_loses_every_trainer_is_failed(registry):
    job = ask(registry)
    for attempt in range(queue.MOST_ATTEMPTS):
        assert registry.queue.take(f"trainer {attempt}") is not None
        forget(registry, job)
    assert registry.queue.take("one more") is None
    failed = registry.jobs.get(job.id)
    assert failed.status == Status.FAILED
    assert failed.error["code"] == "training_lost"


def test_a_job_that_is_let_go_of_counts_no_attempt(registry):
    job = ask(registry)
    for attempt in range(2 * queue.MOST_ATTEMPTS):
        registry.queue.release(registry.queue.take(f"{attempt}"), f"{attempt}")
    assert registry.jobs.get(job.id).status == Status.QUEUED


def test_whoever_had_least_comes_next(registry):
    owners = {name: registry.seen_by(name) for name in ("ada", "bob", "cy")}
    for name in ("ada", "ada", "ada", "bob", "bob", "cy"):
        ask(owners[name], f"{name}/coach")
    order = [registry.queue.take(f"{number}").owner for number in range(4)]
    assert order == ["ada", "bob", "cy", "ada"]
    # Bob's is done, ada still has two: bob's second one comes before ada's third.
    taken = next(job for job in registry.jobs.list(9)[0] if job.status == Status.VALIDATING)
    assert taken.owner == "cy"
    assert registry.queue.take("5").owner == "bob"


def test_files_of_jobs_that_are_not_done_survive_a_collection(registry, home):
    job = ask(registry)
    taken = registry.queue.take("me")
    registry.queue.keep(taken, "me", b"half way")
    registry.data.remove(job.task.training_file)
    loose = registry.data.add("loose.jsonl", b"loose")
    registry.data.remove(loose.id)
    collected = registry_collect(home)
    assert collected.files == 1
    assert registry.queue.content(taken.training) == ROWS
    assert registry.queue.kept(taken) == b"half way"
    registry.queue.succeed(taken, "me", {})
    assert registry_collect(home).files == 2


def registry_collect(home):
    from registry.collection import collect

    return collect(home, grace=timedelta(0))


@pytest.mark.sqlite
def test_a_backup_holds_them(registry, home, tmp_path):
    job = ask(registry)
    registry.queue.keep(registry.queue.take("me"), "me", b"half way")
    archive.backup(home, tmp_path / "backup.tar")
    archive.restore(tmp_path / "backup.tar", tmp_path / "other")
    other = Registry.open(tmp_path / "other", BASE)
    try:
        assert other.jobs.get(job.id).checkpoint is not None
        assert other.data.path(job.task.training_file).read_bytes() == ROWS
        assert ask(other).seq > job.seq
    finally:
        other.close()


class JobsMachine(RuleBasedStateMachine):
    """Whatever askers and trainers do: what ended stays, and one at most holds a job."""

    asked = Bundle("asked")
    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.homes = ExitStack()
        home = Path(self.homes.enter_context(TemporaryDirectory())) / "home"
        self.made = homes.open_registry(home)
        self.homes.callback(self.made.close)
        self.file = self.made.data.add("rows.jsonl", ROWS).id
        self.ended: dict[str, Status] = {}
        self.mine: list[str] = []
        self.holders = 0

    def teardown(self):
        self.homes.close()

    @rule(target=asked)
    def ask(self):
        job = ask(self.made, file=self.file)
        self.mine.append(job.id)
        return job

    @rule(job=asked, what=st.sampled_from(["cancel", "pause", "resume"]))
    def change(self, job, what):
        before = self.made.jobs.get(job.id).status
        allowed = {
            "cancel": (*UNDER_WAY, Status.PAUSED),
            "pause": UNDER_WAY,
            "resume": (Status.PAUSED,),
        }[what]
        if before in allowed:
            getattr(self.made.jobs, what)(job.id)
        else:
            with pytest.raises(Conflict):
                getattr(self.made.jobs, what)(job.id)

    @rule(target=held)
    def take(self):
        self.holders += 1
        return self.made.queue.take(f"{id(self)}-{self.holders}"), f"{id(self)}-{self.holders}"

    @rule(taken=held, word=st.sampled_from(["hear", "succeed", "fail", "release", "silence"]))
    def say(self, taken, word):
        job, holder = taken
        if job is None:
            return
        now_ = self.made.jobs.get(job.id).status
        said = {
            "hear": lambda: self.made.queue.hear(job, holder, Status.RUNNING),
            "succeed": lambda: self.made.queue.succeed(job, holder, {}),
            "fail": lambda: self.made.queue.fail(job, holder, "code", "why", None),
            "release": lambda: self.made.queue.release(job, holder),
            "silence": lambda: forget(self.made, job),
        }[word]
        try:
            said()
        except Lost:
            assert word in ("hear", "succeed", "fail")
            assert self.made.jobs.get(job.id).status == now_

    @invariant()
    def what_ended_stays(self):
        for identity in self.mine:
            job = self.made.jobs.get(identity)
            if identity in self.ended:
                assert job.status == self.ended[identity]
            if job.status in ENDED:
                assert job.ended is not None
                self.ended[identity] = job.status
            else:
                assert job.ended is None


def test_askers_and_trainers_in_any_order():
    run_state_machine_as_test(
        JobsMachine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None)
    )


def test_a_task_that_an_earlier_release_noted_is_read():
    noted = '{"model": "auto", "training_file": "file-1", "description": "Greets."}'
    assert Task.model_validate_json(noted).card == {"description": "Greets."}


def test_it_is_others_turn_where_one_of_theirs_would_be_taken_now(registry):
    ada, bob = registry.seen_by("ada"), registry.seen_by("bob")
    ask(ada, "ada/coach")
    held = registry.queue.take("me")
    ask(ada, "ada/coach")
    assert not registry.queue.is_others_turn(held)
    ask(bob, "bob/coach")
    assert registry.queue.is_others_turn(held)
    # Where there is room for another trainer nobody has to make any.
    assert not registry.queue.is_others_turn(held, most=2)
    registry.queue.release(held, "me")
    bobs = registry.queue.take("me")
    assert bobs.owner == "bob"
    ask(bob, "bob/coach")
    assert registry.queue.is_others_turn(bobs)
    registry.queue.release(bobs, "me")
    assert registry.queue.take("me").id == held.id
