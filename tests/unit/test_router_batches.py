"""Batches: requests of a file answered as if each had come by itself, beside those who wait."""

import asyncio
import json

import httpx
import openai
import pytest
from batch_server import CHAT, file_of, line, working
from patience import comes, until
from scripted import Hold as Pause
from served import BASE, service

from registry.batch import WINDOW, Status
from registry.data_files import ANSWERS, REQUESTS
from registry.errors import Lost, StorageError
from registry.quota import Quota
from registry.scopes import Scope
from registry.tables import batches
from router import background, keyring
from router.api.app import create_app
from router.background import Background
from router.batches import entries, hold, turn, worker
from router.batches.hold import Hold
from router.batches.turn import Turn
from router.engine import Delta, Usage
from router.errors import Overloaded


@pytest.fixture
def made(tmp_path):
    with service(tmp_path) as made:
        yield made


def ask(registry, content, endpoint=CHAT, actor=None):
    file = registry.data.add("asked.jsonl", content, REQUESTS)
    return registry.batches.create(file.id, endpoint, actor=actor)


def held(made, holder="me"):
    queue = made.registry.batch_queue
    return Hold(queue, made.pools.writing, queue.take(holder), holder)


async def turn_of(made, taken=None):
    taken = taken or held(made)
    await Turn(made, create_app(made), taken).run()
    return made.registry.batches.get(taken.batch.id)


def take_turn(made):
    return asyncio.run(turn_of(made))


def rows(registry, identity):
    if identity is None:
        return []
    text = registry.data.path(identity).read_text(encoding="utf-8")
    return [json.loads(each) for each in text.splitlines()]


def bodies(registry, batch):
    return {each["custom_id"]: each["response"]["body"] for each in rows(registry, batch.output)}


def test_each_request_is_answered_as_if_it_had_come_by_itself(made):
    asked = ask(
        made.registry,
        file_of(
            line("one", "translate wine into french", model="auto"),
            line("two", "good morning"),
            line("three", model="no/body"),
            line("four", temperature="hot"),
        ),
    )
    done = take_turn(made)
    assert (done.id, done.status) == (asked.id, Status.COMPLETED)
    assert (done.total, done.completed, done.failed) == (4, 2, 2)
    answers = bodies(made.registry, done)
    assert list(answers) == ["one", "two"]
    assert answers["one"]["model"] == "ada/french"
    assert answers["one"]["routing"]["specialist"] == "ada/french"
    assert answers["two"]["choices"][0]["message"]["content"] == "good morning"
    refused = rows(made.registry, done.failures)
    assert [each["custom_id"] for each in refused] == ["three", "four"]
    assert [each["response"]["status_code"] for each in refused] == [404, 400]
    assert refused[1]["response"]["body"]["error"]["param"] == "temperature"
    assert refused[0]["response"]["request_id"] == f"{asked.id}-3"
    assert {each["error"] for each in refused} == {None}
    file = made.registry.data.get(done.output)
    assert (file.purpose, file.name) == (ANSWERS, f"{asked.id}_output.jsonl")


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/completions", {"model": BASE, "prompt": "hello"}, "text_completion"),
        ("/v1/responses", {"model": BASE, "input": "hello"}, "response"),
        ("/v1/embeddings", {"model": "hashed-words", "input": "hello"}, "list"),
    ],
)
def test_requests_are_for_any_endpoint_that_answers(made, endpoint, body, kind):
    one = {"custom_id": "one", "method": "POST", "url": endpoint, "body": body}
    ask(made.registry, file_of(one), endpoint)
    done = take_turn(made)
    assert bodies(made.registry, done)["one"]["object"] == kind
    assert done.failures is None


def test_all_that_is_wrong_is_told_with_its_line(made):
    content = b"\n".join(
        [
            json.dumps(line("one")).encode(),
            b"",
            b"no json",
            json.dumps(line("one")).encode(),
            json.dumps(line("two", url="/v1/embeddings")).encode(),
            json.dumps(line("three", stream=True)).encode(),
            json.dumps(line("four") | {"method": "GET"}).encode(),
            json.dumps(line("five") | {"more": 1}).encode(),
            b"\xff\xfe",
            b"[]",
        ]
    )
    ask(made.registry, content)
    failed = take_turn(made)
    assert (failed.status, failed.output, failed.failures) == (Status.FAILED, None, None)
    assert [(each.line, each.code, each.param) for each in failed.problems] == [
        (3, "invalid_json", None),
        (4, "duplicate_custom_id", "custom_id"),
        (5, "mismatched_endpoint", "url"),
        (6, "invalid_value", "body.stream"),
        (7, "invalid_value", "method"),
        (8, "unknown_parameter", "more"),
        (9, "invalid_json", None),
        (10, "invalid_type", None),
    ]
    assert made.engine.generations == []


def test_a_file_has_a_request_and_not_too_many_nor_too_long_ones(made, monkeypatch):
    monkeypatch.setattr(entries, "MOST_REQUESTS", 2)
    monkeypatch.setattr(entries, "LONGEST", 1000)
    for content, code in (
        (b"\n\n", "empty_file"),
        (file_of(*(line(str(number)) for number in range(3))), "too_many_requests"),
        (file_of(line("one"), line("two", "x" * 2000), line("three")), "line_too_long"),
    ):
        ask(made.registry, content)
        assert [each.code for each in take_turn(made).problems] == [code]
    monkeypatch.setattr(entries, "MOST_PROBLEMS", 5)
    ask(made.registry, b"no json\n" * 20)
    assert len(take_turn(made).problems) == 5


def test_a_key_asks_as_its_owner_and_no_more_once_it_is_revoked(made, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    key, _ = made.registry.keys.create(
        "x", [Scope.INFER], "ada", quota=Quota(tokens_per_minute=10**6)
    )
    ada = made.registry.seen_by("ada")
    content = file_of(line("one", model="ada/french"), line("two", model="bob/weather"))
    ask(ada, content, actor=key.id)
    done = take_turn(made)
    assert list(bodies(ada, done)) == ["one"]
    assert [each["response"]["status_code"] for each in rows(ada, done.failures)] == [404]
    assert made.engine.generations[0].tenant == "ada (absent)"
    assert [account.key for account in made.news.spending.drain()] == [key.id]
    made.registry.keys.revoke(key.id)
    ask(ada, content, actor=key.id)
    refused = rows(ada, take_turn(made).failures)
    assert [each["response"]["status_code"] for each in refused] == [401, 401]


def test_without_a_key_nothing_is_answered_where_one_is_needed_by_now(made):
    ask(made.registry, file_of(line("one")))
    made.registry.keys.create("x", [Scope.INFER], "ada")
    made.keyring = keyring.Keyring(made.registry.keys, made.pools.reading, opens=False)
    refused = rows(made.registry, take_turn(made).failures)
    assert refused[0]["response"]["body"]["error"]["code"] == "invalid_api_key"


def test_a_key_for_something_else_answers_nothing(made):
    key, _ = made.registry.keys.create("x", [Scope.READ], "ada")
    ask(made.registry.seen_by("ada"), file_of(line("one")), actor=key.id)
    refused = rows(made.registry, take_turn(made).failures)
    assert refused[0]["response"]["body"]["error"]["code"] == "scope_missing"


def test_what_there_is_no_room_for_is_asked_again(made, monkeypatch):
    monkeypatch.setattr("router.batches.answering.LONGEST_WAIT", 0.0)
    refusals = iter([Overloaded(7.0), Overloaded()])

    def script(generation):
        refusal = next(refusals, None)
        return [Delta(0, "hi", 1, finish_reason="stop"), Usage(1, 1)] if not refusal else [refusal]

    made.engine.script = script
    ask(made.registry, file_of(line("one")))
    done = take_turn(made)
    assert (done.completed, done.failed) == (1, 0)
    assert len(made.engine.generations) == 3


class Pauses:
    """Lets answers wait until they are released."""

    def __init__(self, made):
        self.pauses = []
        made.engine.script = self._script

    def _script(self, generation):
        self.pauses.append(Pause())
        return [self.pauses[-1], Delta(0, "hi", 1, finish_reason="stop"), Usage(1, 1)]

    async def come(self, count):
        await comes(lambda: len(self.pauses) >= count)


@pytest.fixture
def at_once(monkeypatch):
    """The registry hears of everything at once."""
    monkeypatch.setattr(hold, "HEARD_SECONDS", 0.0)
    monkeypatch.setattr(turn, "HEARD_SECONDS", 0.0)


def test_one_that_is_cancelled_keeps_what_was_answered(made, at_once):
    asked = ask(made.registry, file_of(*(line(str(number)) for number in range(3))))

    async def main():
        pauses = Pauses(made)
        going = asyncio.create_task(turn_of(made))
        await pauses.come(3)
        pauses.pauses[1].release()
        await comes(lambda: made.registry.batches.get(asked.id).completed == 1)
        made.registry.batches.cancel(asked.id)
        return await going

    done = asyncio.run(main())
    assert (done.status, done.total, done.completed) == (Status.CANCELLED, 3, 1)
    assert len(bodies(made.registry, done)) == 1
    assert len(made.engine.aborted) == 2


def test_one_that_is_cancelled_before_anybody_worked_on_it_just_ends(made):
    asked = ask(made.registry, file_of(line("one")))
    made.registry.batches.cancel(asked.id)
    done = take_turn(made)
    assert (done.status, done.output) == (Status.CANCELLED, None)


def test_another_goes_on_where_one_was_lost(made, at_once):
    asked = ask(made.registry, file_of(*(line(str(number)) for number in range(4))))

    async def main():
        pauses = Pauses(made)
        going = asyncio.create_task(turn_of(made))
        await pauses.come(4)
        pauses.pauses[2].release()
        await comes(lambda: made.registry.batches.get(asked.id).completed == 1)
        lose(made, asked)
        other = held(made, "you")
        for each in pauses.pauses[:2]:
            each.release()
        with pytest.raises(Lost, match="held by you"):
            await going
        going = asyncio.create_task(turn_of(made, other))
        await pauses.come(7)
        for each in pauses.pauses[4:]:
            each.release()
        return await going

    done = asyncio.run(main())
    assert (done.status, done.completed, done.failed) == (Status.COMPLETED, 4, 0)
    assert list(bodies(made.registry, done)) == ["0", "1", "2", "3"]


def lose(made, batch):
    with made.registry.batches._database.write() as connection:
        mine = batches.c.id == batch.id
        connection.execute(batches.update().where(mine).values(holder=None))


def test_others_get_their_turn(made, at_once, monkeypatch):
    monkeypatch.setattr(turn, "TURN_SECONDS", 0.0)
    made.background = Background(1)
    asked = ask(made.registry, file_of(line("0"), line("1")))
    waits = []
    monkeypatch.setattr(made.registry.batch_queue, "waits", lambda: bool(waits))

    async def main():
        waits.append("somebody")
        taken = held(made)
        await turn_of(made, taken)
        await taken.release()

    asyncio.run(main())
    after = made.registry.batches.get(asked.id)
    assert (after.status, after.completed) == (Status.IN_PROGRESS, 1)
    waits.clear()
    assert take_turn(made).completed == 2


def test_one_that_there_is_no_room_for_lets_others_have_their_turn(made, at_once, monkeypatch):
    made.background = Background(2)
    asked = ask(made.registry, file_of(*(line(str(number)) for number in range(5))))

    def script(generation):
        # There is room for the first one alone.
        if len(made.engine.generations) > 1:
            return [Overloaded(30.0)]
        return [Delta(0, "hi", 1, finish_reason="stop"), Usage(1, 1)]

    made.engine.script = script
    monkeypatch.setattr(made.registry.batch_queue, "waits", lambda: True)

    async def main():
        taken = held(made)
        await turn_of(made, taken)
        await taken.release()

    asyncio.run(main())
    after = made.registry.batches.get(asked.id)
    assert (after.status, after.completed, after.failed) == (Status.IN_PROGRESS, 1, 0)


def test_what_is_not_answered_in_time_is_said_to_be_late(made, at_once, monkeypatch):
    made.background = Background(1)
    asked = ask(made.registry, file_of(*(line(str(number)) for number in range(4))))

    async def main():
        pauses = Pauses(made)
        going = asyncio.create_task(turn_of(made))
        await pauses.come(1)
        with made.registry.batches._database.write() as connection:
            connection.execute(batches.update().values(created=asked.created - WINDOW))
        pauses.pauses[0].release()
        return await going

    monkeypatch.setattr(turn, "_AT_ONCE", 2)
    done = asyncio.run(main())
    assert (done.status, done.completed, done.failed) == (Status.EXPIRED, 1, 3)
    late = rows(made.registry, done.failures)
    assert [each["custom_id"] for each in late] == ["1", "2", "3"]
    assert {each["error"]["code"] for each in late} == {"batch_expired"}
    assert {each["response"] for each in late} == {None}


def test_files_are_made_once_though_whoever_made_them_was_lost(made, monkeypatch):
    asked = ask(made.registry, file_of(line("one"), line("two", model="no/body")))

    async def lost(*_):
        raise Lost("Somebody else has it.")

    with monkeypatch.context() as patch:
        patch.setattr(Hold, "end", lost)
        with pytest.raises(Lost):
            take_turn(made)
    lose(made, asked)
    done = take_turn(made)
    assert (done.status, list(bodies(made.registry, done))) == (Status.COMPLETED, ["one"])
    assert len(made.registry.data.list(9, purpose=ANSWERS)[0]) == 2


def test_one_whose_time_is_over_is_not_gone_on_with(made):
    ask(made.registry, file_of(line("one")))
    taken = held(made)
    with made.registry.batches._database.write() as connection:
        connection.execute(batches.update().values(created=taken.batch.created - WINDOW))
    done = asyncio.run(turn_of(made, taken))
    assert (done.status, done.failed, made.engine.generations) == (Status.EXPIRED, 1, [])


def test_answers_take_so_many_bytes_and_no_more(made, at_once, monkeypatch):
    monkeypatch.setattr(turn, "MOST_BYTES", 100)
    made.background = Background(1)
    ask(made.registry, file_of(*(line(str(number)) for number in range(3))))
    done = take_turn(made)
    assert (done.status, done.completed, done.failed) == (Status.COMPLETED, 1, 2)
    assert done.nbytes > 100
    full = rows(made.registry, done.failures)
    assert {each["error"]["code"] for each in full} == {"batch_too_large"}


def test_a_batch_makes_way_for_those_who_wait(made, at_once, monkeypatch):
    monkeypatch.setattr(background, "QUIET_SECONDS", 900.0)
    ask(made.registry, file_of(*(line(str(number)) for number in range(20))))

    async def main():
        pauses = Pauses(made)
        going = asyncio.create_task(turn_of(made))
        await pauses.come(16)
        made.background.asked()
        for each in pauses.pauses[:16]:
            each.release()
        await pauses.come(17)
        assert len(made.engine.generations) == 17
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)

    asyncio.run(main())


def test_who_asks_is_somebody_who_waits_and_a_batch_is_not(made):
    assert made.background.room == 16
    ask(made.registry, file_of(line("one")))
    take_turn(made)
    assert made.background.room == 16

    async def main():
        transport = httpx.ASGITransport(create_app(made))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await http.post(CHAT, json=line("x")["body"])

    asyncio.run(main())
    assert made.background.room == background.BESIDE


def test_work_that_takes_long_is_heard_of(made, at_once):
    ask(made.registry, file_of(line("one")))

    async def main():
        taken = held(made)
        told = []
        before = taken.batch

        async def long():
            await comes(lambda: len(told) >= 3)
            return "done"

        async def tell():
            told.append(1)
            await Hold.tell(taken)

        taken.tell = tell
        assert await taken.during(long()) == "done"
        assert taken.batch == before

    asyncio.run(main())


def test_openais_client_asks_for_a_batch(made, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    with (
        working(made) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        content = file_of(line("a", "good day"), line("b", model="no/body"))
        file = client.files.create(file=("asked.jsonl", content), purpose="batch")
        asked = client.batches.create(
            input_file_id=file.id,
            endpoint=CHAT,
            completion_window="24h",
            metadata={"team": "claims"},
        )
        assert (asked.status, asked.metadata) == ("validating", {"team": "claims"})
        until(lambda: client.batches.retrieve(asked.id).status == "completed", 0.01)
        done = client.batches.retrieve(asked.id)
        assert done.request_counts.model_dump() == {"total": 2, "completed": 1, "failed": 1}
        assert done.completed_at >= done.finalizing_at >= done.in_progress_at >= done.created_at
        assert done.expires_at - done.created_at == 24 * 3600
        answered = json.loads(client.files.content(done.output_file_id).text)
        assert answered["response"]["body"]["choices"][0]["message"]["content"] == "good day"
        assert client.files.content(done.error_file_id).text.count("\n") == 1
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(asked.id)
        empty = client.files.create(file=("asked.jsonl", b"nonsense"), purpose="batch")
        other = client.batches.create(
            input_file_id=empty.id, endpoint=CHAT, completion_window="24h"
        )
        until(lambda: client.batches.retrieve(other.id).status == "failed", 0.01)
        failed = client.batches.retrieve(other.id)
        assert failed.errors.data[0].line == 1
        assert [each.id for each in client.batches.list(limit=1)] == [other.id, asked.id]
        sent = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        for name, value, said in (
            ("input_file_id", "file-none", "file-none"),
            ("endpoint", "/v1/route", "'endpoint' must be"),
            ("completion_window", "1h", "'completion_window' must be"),
        ):
            with pytest.raises(openai.APIStatusError, match=said):
                client.batches.create(**sent | {name: value})


def test_the_worker_outlives_what_fails(made, monkeypatch, caplog):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    asked = ask(made.registry, file_of(line("one")))
    fails = iter([StorageError("The registry is away."), ValueError("nobody foresaw this")])
    begin = Hold.begin

    async def fail(self, total):
        for error in fails:
            raise error
        await begin(self, total)

    monkeypatch.setattr(Hold, "begin", fail)
    with working(made) as url:
        httpx.get(f"{url}/healthz", trust_env=False)
        until(lambda: made.registry.batches.get(asked.id).status == Status.COMPLETED, 0.01)
    assert "batches wait: The registry is away." in caplog.text
    assert "nobody foresaw this" in caplog.text
