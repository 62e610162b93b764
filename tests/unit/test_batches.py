"""Batches: whose they are, whose turn it is, and that each request has one answer at most."""

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
from sqlalchemy import func, select, update

from registry import batches as asking
from registry.batch import UNDER_WAY, WINDOW, Answer, Problem, Status
from registry.clock import now
from registry.collection import collect
from registry.data_files import REQUESTS
from registry.errors import Conflict, InvalidInput, Lost, QuotaExceeded, UnknownObject
from registry.tables import batch_answers, batches

CHAT = "/v1/chat/completions"
ASKED = b'{"custom_id": "1"}\n{"custom_id": "2"}\n'


def ask(registry, file=None, **more):
    file = file or registry.data.add("asked.jsonl", ASKED, REQUESTS).id
    return registry.batches.create(file, CHAT, **more)


def forget(registry, batch):
    """Let a batch's holder not have been heard of for long."""
    with registry.batches._database.write() as connection:
        past = now() - timedelta(seconds=1)
        connection.execute(update(batches).where(batches.c.id == batch.id).values(until=past))


def kept(registry):
    with registry.batches._database.read() as connection:
        return connection.scalar(select(func.count()).select_from(batch_answers))


def test_a_batch_from_its_beginning_to_its_end(registry):
    queue = registry.batch_queue
    assert not queue.waits()
    asked = ask(registry, metadata={"team": "a"}, actor="key")
    assert (asked.status, asked.metadata, asked.actor) == (
        Status.VALIDATING,
        {"team": "a"},
        "key",
    )
    assert asked.expires == asked.created + WINDOW
    assert queue.waits()
    taken = queue.take("me")
    assert not queue.waits()
    assert queue.take("you") is None
    assert queue.requests(taken).read_bytes() == ASKED
    begun = queue.begin(taken, "me", 2)
    assert (begun.status, begun.total) == (Status.IN_PROGRESS, 2)
    assert begun.began is not None
    heard = queue.hear(begun, "me", [Answer(2, True, "two"), Answer(1, False, "one")])
    assert (heard.completed, heard.failed) == (1, 1)
    # What was told is told again where nobody said that it was heard.
    again = queue.hear(begun, "me", [Answer(1, False, "another")])
    assert (again.completed, again.failed) == (1, 1)
    assert queue.answered(begun) == {1, 2}
    finishing = queue.finish(begun, "me")
    assert (finishing.status, finishing.finishing is not None) == (Status.FINALIZING, True)
    assert list(queue.answers(begun, failed=False)) == ["one"]
    assert list(queue.answers(begun, failed=True)) == ["two"]
    queue.end(begun, "me", Status.COMPLETED, "file-o", "file-f")
    done = registry.batches.get(asked.id)
    assert (done.status, done.output, done.failures) == (Status.COMPLETED, "file-o", "file-f")
    assert done.ended is not None
    assert kept(registry) == 0
    with pytest.raises(Lost, match="completed"):
        queue.hear(begun, "me")


def test_one_that_cannot_be_begun_says_why(registry):
    asked = ask(registry)
    problems = [Problem("invalid_json", "That is no JSON.", 3, "body"), Problem("empty", "Empty.")]
    taken = registry.batch_queue.take("me")
    registry.batch_queue.end(taken, "me", Status.FAILED, problems=problems)
    failed = registry.batches.get(asked.id)
    assert (failed.status, failed.problems) == (Status.FAILED, problems)


def test_an_owner_sees_their_own_a_page_at_a_time(registry):
    ada, bob = registry.seen_by("ada"), registry.seen_by("bob")
    mine = [ask(ada).id for _ in range(3)][::-1]
    ask(bob)
    found, more = ada.batches.list(2)
    assert ([each.id for each in found], more) == (mine[:2], True)
    rest, more = ada.batches.list(2, after=mine[1])
    assert ([each.id for each in rest], more) == (mine[2:], False)
    assert len(registry.batches.list(9)[0]) == 4
    for asked in (bob.batches.get, bob.batches.cancel, lambda last: bob.batches.list(9, last)):
        with pytest.raises(UnknownObject, match="batch"):
            asked(mine[0])


def test_a_batch_asks_for_a_file_of_the_owners_that_is_for_it(registry):
    ada, bob = registry.seen_by("ada"), registry.seen_by("bob")
    for file in ("file-none", bob.data.add("asked.jsonl", ASKED, REQUESTS).id):
        with pytest.raises(UnknownObject):
            ask(ada, file)
    with pytest.raises(InvalidInput, match="there for 'fine-tune'; upload it"):
        ask(ada, ada.data.add("rows.jsonl", ASKED).id)


def test_so_many_batches_of_an_owner_wait_and_no_more(registry, monkeypatch):
    monkeypatch.setattr(asking, "MOST_WAITING", 2)
    ada = registry.seen_by("ada")
    ask(ada)
    ask(ada)
    with pytest.raises(QuotaExceeded, match="unfinished batches"):
        ask(ada)
    ask(registry.seen_by("bob"))


def test_one_that_is_cancelled_is_ended_by_whoever_works_on_it(registry):
    queue, asked = registry.batch_queue, ask(registry)
    taken = queue.begin(queue.take("me"), "me", 2)
    cancelled = registry.batches.cancel(asked.id)
    assert cancelled.status == Status.CANCELLING
    assert registry.batches.cancel(asked.id).cancelled == cancelled.cancelled
    assert queue.hear(taken, "me", [Answer(1, False, "one")]).status == Status.CANCELLING
    assert queue.begin(taken, "me", 2).status == Status.CANCELLING
    assert queue.finish(taken, "me").status == Status.CANCELLING
    queue.end(taken, "me", Status.CANCELLED, "file-o", None)
    assert registry.batches.get(asked.id).completed == 1
    with pytest.raises(Conflict, match="cancelled already"):
        registry.batches.cancel(asked.id)


def test_a_holder_that_is_not_heard_of_is_given_up(registry):
    queue, asked = registry.batch_queue, ask(registry)
    taken = queue.begin(queue.take("me"), "me", 2)
    queue.hear(taken, "me", [Answer(1, False, "one")])
    forget(registry, asked)
    again = queue.take("you")
    assert (again.id, queue.answered(again)) == (asked.id, {1})
    for word in (
        lambda: queue.hear(taken, "me", [Answer(2, False, "mine")]),
        lambda: queue.begin(taken, "me", 2),
        lambda: queue.finish(taken, "me"),
        lambda: queue.end(taken, "me", Status.COMPLETED),
    ):
        with pytest.raises(Lost, match="held by you"):
            word()
    queue.release(taken, "me")
    assert not queue.waits()
    queue.release(again, "you")
    assert queue.waits()


def test_owners_take_turns_and_so_do_the_batches_of_one(registry):
    owners = {name: registry.seen_by(name) for name in ("ada", "bob")}
    asked = {ask(owners[name]).id: place for place, name in enumerate(["ada", "ada", "bob"])}
    turns = []
    for _ in range(6):
        taken = registry.batch_queue.take("me")
        turns.append(asked[taken.id])
        registry.batch_queue.release(taken, "me")
    assert turns == [0, 2, 1, 2, 0, 2]
    held = [asked[registry.batch_queue.take(f"{number}").id] for number in range(3)]
    assert held == [1, 2, 0]


def test_the_requests_of_one_that_is_under_way_are_no_garbage(registry, home):
    file = registry.data.add("asked.jsonl", ASKED, REQUESTS)
    ask(registry, file.id)
    registry.data.remove(file.id)
    assert collect(home, grace=timedelta(0)).files == 0
    taken = registry.batch_queue.take("me")
    assert registry.batch_queue.requests(taken).read_bytes() == ASKED
    registry.batch_queue.end(taken, "me", Status.CANCELLED)
    assert collect(home, grace=timedelta(0)).files == 1


class BatchesMachine(RuleBasedStateMachine):
    """Whatever askers and holders do: counts are those of the answers, and what ended stays."""

    asked = Bundle("asked")
    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.homes = ExitStack()
        home = Path(self.homes.enter_context(TemporaryDirectory())) / "home"
        self.made = homes.open_registry(home)
        self.homes.callback(self.made.close)
        self.file = self.made.data.add("asked.jsonl", ASKED, REQUESTS).id
        self.ended: dict[str, Status] = {}
        self.mine: list[str] = []
        self.holders = 0

    def teardown(self):
        self.homes.close()

    @rule(target=asked)
    def ask(self):
        batch = ask(self.made, self.file)
        self.mine.append(batch.id)
        return batch

    @rule(batch=asked)
    def cancel(self, batch):
        if self.made.batches.get(batch.id).status in UNDER_WAY:
            self.made.batches.cancel(batch.id)
        else:
            with pytest.raises(Conflict):
                self.made.batches.cancel(batch.id)

    @rule(target=held)
    def take(self):
        self.holders += 1
        return self.made.batch_queue.take(f"{self.holders}"), f"{self.holders}"

    @rule(taken=held, number=st.integers(1, 3), failed=st.booleans())
    def answer(self, taken, number, failed):
        self._say(taken, "hear", [Answer(number, failed, "said")])

    @rule(taken=held, word=st.sampled_from(["begin", "finish", "end", "release"]))
    def say(self, taken, word):
        more = {"begin": (3,), "end": (Status.COMPLETED,)}
        self._say(taken, word, *more.get(word, ()))

    @rule(taken=held)
    def silence(self, taken):
        if taken[0] is not None and self.made.batches.get(taken[0].id).status in UNDER_WAY:
            forget(self.made, taken[0])

    def _say(self, taken, word, *more):
        batch, holder = taken
        if batch is None:
            return
        before = self.made.batches.get(batch.id)
        try:
            getattr(self.made.batch_queue, word)(batch, holder, *more)
        except Lost:
            assert self.made.batches.get(batch.id) == before

    @invariant()
    def what_ended_stays(self):
        for identity in self.mine:
            batch = self.made.batches.get(identity)
            assert (batch.ended is None) == (batch.status in UNDER_WAY)
            if identity in self.ended:
                assert batch.status == self.ended[identity]
            elif batch.status not in UNDER_WAY:
                self.ended[identity] = batch.status

    @invariant()
    def what_is_counted_is_there(self):
        for identity in self.mine:
            batch = self.made.batches.get(identity)
            if batch.status in UNDER_WAY:
                there = [
                    list(self.made.batch_queue.answers(batch, failed=f)) for f in (False, True)
                ]
                assert [batch.completed, batch.failed] == list(map(len, there))


def test_askers_and_holders_in_any_order():
    run_state_machine_as_test(
        BatchesMachine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None)
    )
