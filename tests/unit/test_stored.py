"""Conversations that are kept, rated, edited and learnt from; with OpenAI's own client."""

import json
from datetime import UTC, datetime, timedelta, timezone

import openai
import pytest
import sqlalchemy as sa
from cli_world import live, myriad
from served import BASE, service
from served import served as serving
from test_router_jobs import connected, refused

from registry import conversations
from registry.clock import now
from registry.errors import StorageError
from registry.scopes import Scope
from registry.tables import conversations as table
from registry.view import Visibility
from router import keyring
from router.engine import CallDelta, Delta, Usage
from router.redaction import redacted, redacted_all
from specialists.errors import TrainingDataError
from specialists.training import traffic
from specialists.training.data import rows_of
from specialists.training.pairs import pairs_of

FRENCH = "ada/french"
DOG = [{"role": "user", "content": "dog"}]


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def url(made):
    with serving(made) as url:
        yield url


@pytest.fixture
def client(url):
    with connected(url) as client:
        yield client


def ask(client, text="dog", model=FRENCH, **fields):
    turns = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=turns, store=True, **fields)


def learnable(client, specialist=FRENCH, **query):
    path = f"/specialists/{specialist}/conversations"
    return client.get(path, cast_to=object, options={"params": query})["data"]


def rate(client, answer, rating, correction=None):
    body = {"id": answer, "rating": rating, "correction": correction}
    client.post("/feedback", cast_to=object, body=body)


def test_what_is_to_be_kept_can_be_read_again(client):
    sent = ask(client, metadata={"app": "web"}, n=2, max_completion_tokens=9)
    stored = client.chat.completions.retrieve(sent.id)
    assert stored.choices == sent.choices
    assert (stored.usage, stored.model, stored.created) == (sent.usage, sent.model, sent.created)
    assert stored.metadata == {"app": "web"}
    [turn] = client.chat.completions.messages.list(sent.id)
    assert (turn.role, turn.content, turn.id) == ("user", "dog", f"{sent.id}-0")


def test_nothing_else_is_kept(client):
    client.chat.completions.create(model=FRENCH, messages=DOG)
    client.chat.completions.create(model=FRENCH, messages=DOG, store=False)
    assert client.chat.completions.list().data == []


def test_a_stream_is_kept_as_it_would_be_sent_in_one_piece(client, made):
    call = (CallDelta(0, "", "dice"),), (CallDelta(0, '{"n": '),), (CallDelta(0, "6}"),)
    made.engine.script = lambda _: [
        *(Delta(0, "So" if at == 0 else "", 1, calls=calls) for at, calls in enumerate(call)),
        Delta(0, "", 1, finish_reason="tool_calls"),
        Usage(4, 3),
    ]
    tool = {"type": "function", "function": {"name": "dice", "parameters": {"type": "object"}}}
    with client.chat.completions.stream(
        model=FRENCH, messages=DOG, tools=[tool], store=True, metadata={"app": "web"}
    ) as stream:
        final = stream.get_final_completion()
    stored = client.chat.completions.retrieve(final.id)
    [sent], [kept] = final.choices[0].message.tool_calls, stored.choices[0].message.tool_calls
    assert (kept.id, kept.function.arguments) == (sent.id, '{"n": 6}')
    assert stored.choices[0].message.content == "So"
    assert stored.usage.completion_tokens == 3


def test_a_stream_that_breaks_off_is_not_kept(client, made):
    made.engine.script = lambda _: [Delta(0, "So", 1)]
    with pytest.raises(openai.APIStatusError):
        ask(client)
    assert client.chat.completions.list().data == []


def test_an_answer_that_cannot_be_kept_is_sent_all_the_same(client, made, monkeypatch, caplog):
    def broken(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(conversations.Conversations, "keep", broken)
    sent = ask(client)
    assert sent.choices[0].message.content
    assert f"{sent.id} is not kept: the disk is full" in caplog.text


def test_kept_answers_are_listed_a_page_at_a_time(client):
    ids = [ask(client, str(n), metadata={"n": str(n % 2)}).id for n in range(5)]
    ids.append(ask(client, "base", model=BASE).id)
    listed = client.chat.completions.list
    assert [each.id for each in listed(limit=2)] == ids
    assert [each.id for each in listed(limit=2, order="desc")] == ids[::-1]
    assert [each.id for each in listed(metadata={"n": "1"})] == [ids[1], ids[3]]
    assert [each.id for each in listed(model=BASE)] == ids[5:]
    assert [each.id for each in listed(model=FRENCH, limit=1)] == ids[:5]
    assert refused(listed, after="chatcmpl-x") == (404, "conversation_not_found", "id")


def test_messages_are_listed_a_page_at_a_time(client):
    turns = [{"role": "system", "content": "Be brief."}, *DOG]
    sent = client.chat.completions.create(model=FRENCH, messages=turns, store=True)
    listed = client.chat.completions.messages.list
    assert [each.content for each in listed(sent.id, limit=1)] == ["Be brief.", "dog"]
    assert [each.content for each in listed(sent.id, order="desc")] == ["dog", "Be brief."]


def test_kept_answers_are_labelled_and_forgotten(client):
    sent = ask(client, metadata={"app": "web"})
    update = client.chat.completions.update(sent.id, metadata={"app": "phone"})
    assert update.metadata == {"app": "phone"}
    assert client.chat.completions.retrieve(sent.id).metadata == {"app": "phone"}
    assert client.chat.completions.delete(sent.id).deleted
    for call in (client.chat.completions.retrieve, client.chat.completions.delete):
        assert refused(call, sent.id) == (404, "conversation_not_found", "id")


def test_after_thirty_days_a_conversation_is_forgotten(client, made, monkeypatch):
    old = ask(client)
    with made.registry._database.write() as connection:
        connection.execute(sa.update(table).values(created=now() - timedelta(days=31)))
    new = ask(client)
    assert refused(client.chat.completions.retrieve, old.id)[0] == 404
    assert [each.id for each in client.chat.completions.list()] == [new.id]


@pytest.mark.parametrize(
    "metadata", [{"a": 1}, {str(n): "x" for n in range(17)}, {"k" * 65: "x"}, {"a": "x" * 513}]
)
def test_labels_are_small_texts(client, metadata):
    status, _, param = refused(ask, client, metadata=metadata)
    assert (status, param.split(".")[0]) == (400, "metadata")


@pytest.fixture
def people(made, url):
    """Clients of ada, who owns ada/french, of bob, and of an admin."""
    made.registry.show_to(FRENCH, Visibility.PUBLIC)
    made.follower.refresh()
    scopes = [Scope.INFER, Scope.WRITE]
    keys = {name: made.registry.keys.create("x", scopes, name)[1] for name in ("ada", "bob")}
    keys["admin"] = made.registry.keys.create("x", [Scope.ADMIN])[1]
    clients = {name: connected(url, key) for name, key in keys.items()}
    yield clients
    for client in clients.values():
        client.close()


def test_each_asker_sees_their_own(people):
    sent = ask(people["bob"])
    assert people["bob"].chat.completions.retrieve(sent.id).id == sent.id
    assert people["admin"].chat.completions.retrieve(sent.id).id == sent.id
    assert refused(people["ada"].chat.completions.retrieve, sent.id)[0] == 404
    assert people["ada"].chat.completions.list().data == []


def test_an_owner_learns_from_their_own_and_from_what_is_given(people):
    ada, bob = people["ada"], people["bob"]
    own = ask(ada, "mail me at ada@sea.org")
    ask(bob, "secret")
    labels = {"consent": "training", "who": "bob@sea.org"}
    given = ask(bob, "call +49 170 1234567", metadata=labels)
    found = learnable(ada)
    assert [each["id"] for each in found] == [own.id, given.id]
    assert [each["request"]["messages"][0]["content"] for each in found] == [
        "mail me at [email]",
        "call [phone]",
    ]
    assert found[1]["metadata"] == {"consent": "training", "who": "[email]"}
    # What others gave is never shown as it was.
    [plain] = learnable(ada, redact=False)
    assert plain["request"]["messages"][0]["content"] == "mail me at ada@sea.org"
    assert len(learnable(people["admin"])) == 3
    assert refused(learnable, bob)[0] == 403


def test_what_may_be_learnt_from_is_chosen(client):
    ids = [ask(client, str(n)).id for n in range(4)]
    rate(client, ids[0], "good")
    rate(client, ids[1], "bad")
    rate(client, ids[2], "bad", "trois")
    assert [each["rating"] for each in learnable(client)] == ["good", "bad", "bad", None]
    assert [each["correction"] for each in learnable(client, rating="bad")] == [None, "trois"]
    path = f"/specialists/{FRENCH}/conversations?rating=good&rating=bad"
    assert len(client.get(path, cast_to=object)["data"]) == 3
    assert learnable(client, since="2999-01-01") == []
    assert len(learnable(client, since="2020-01-01T00:00:00Z")) == 4
    later = datetime.now(UTC) + timedelta(hours=1)
    elsewhere = later.astimezone(timezone(timedelta(hours=-9)))
    assert learnable(client, since=later.isoformat()) == []
    assert learnable(client, since=elsewhere.isoformat()) == []
    assert [each["id"] for each in learnable(client, limit=2, after=ids[0])] == ids[1:3]
    assert refused(learnable, client, after="x")[0] == 404
    assert refused(learnable, client, rating="fine")[0] == 400


def test_only_the_owners_edits_are_learnt_and_nobody_undoes_them(people):
    ada, bob = people["ada"], people["bob"]
    sent = ask(bob, metadata={"consent": "training"})
    rate(bob, sent.id, "bad", "poison")
    assert [each["correction"] for each in learnable(ada)] == [None]
    rate(ada, sent.id, "bad", "chien")
    rate(bob, sent.id, "good", "poison")
    [found] = learnable(ada)
    assert (found["rating"], found["correction"]) == ("good", "chien")
    rate(ada, sent.id, "good")
    assert learnable(ada)[0]["correction"] is None


def of_base(client, **query):
    return client.get("/base/conversations", cast_to=object, options={"params": query})["data"]


def test_answers_of_the_base_are_rated_and_learnt_from(client):
    ask(client)
    ids = [ask(client, f"{n}, mail me at ada@sea.org", model=BASE).id for n in range(3)]
    rate(client, ids[0], "good")
    rate(client, ids[1], "bad", "Gladly.")
    found = of_base(client)
    assert [each["id"] for each in found] == ids
    assert [each["rating"] for each in found] == ["good", "bad", None]
    assert [each["correction"] for each in found] == [None, "Gladly.", None]
    assert {each["specialist"] for each in found} == {None}
    assert found[0]["request"]["messages"][0]["content"] == "0, mail me at [email]"
    assert "ada@sea.org" in str(of_base(client, redact=False))
    assert [each["id"] for each in of_base(client, rating="bad")] == ids[1:2]
    assert [each["id"] for each in of_base(client, limit=1, after=ids[1])] == ids[2:]
    assert refused(of_base, client, after="x")[0] == 404
    answer = client.post(
        "/feedback", cast_to=object, body={"id": ids[0], "rating": "bad", "correction": None}
    )
    assert (answer["specialist"], answer["version"], answer["rating"]) == (None, None, "bad")


def test_of_the_bases_answers_only_the_askers_edits_are_learnt(people):
    ada, bob = people["ada"], people["bob"]
    sent = ask(bob, model=BASE, metadata={"consent": "training"})
    rate(ada, sent.id, "bad", "poison")
    assert [each["correction"] for each in of_base(bob)] == [None]
    rate(bob, sent.id, "bad", "Gladly.")
    rate(ada, sent.id, "good", "poison")
    [found] = of_base(bob)
    assert (found["rating"], found["correction"]) == ("good", "Gladly.")
    assert of_base(ada) == []
    assert [each["id"] for each in of_base(people["admin"])] == [sent.id]


# What is personal


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to a.b+c@mail.example.co.uk.", "write to [email]."),
        ("+49 (0)170 / 123 45 67", "[phone]"),
        ("call 0170-1234567 or (555) 010-9999", "call [phone] or [phone]"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("pay DE89 3704 0044 0532 0130 00 now", "pay [iban] now"),
        ("it is 123-45-6789", "it is [ssn]"),
        ("from 192.168.0.1 on", "from [ip] on"),
        ("sk-abcdefghijklmnop1234", "[secret]"),
        ("at https://me:pass@host/x", "at https://[login]@host/x"),
    ],
)
def test_what_is_personal_by_its_form_is_taken_out(text, left):
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "In 2024 we sold 1234567 loaves for 3.50 each.",
        "On 2024-01-02, version 1.2.3, at 12:30",
        "17 + 25 = 42 and 100 000",
        "mara@home is no address",
        "order 4111111111111112",
    ],
)
def test_what_is_not_personal_stays(text):
    assert redacted(text) == text


def test_every_text_of_a_value_is_looked_at():
    value = {"a": ["x@y.org", {"b": "x@y.org"}], "n": 1, "none": None}
    assert redacted_all(value) == {"a": ["[email]", {"b": "[email]"}], "n": 1, "none": None}


# Rows


def given(text, said="un chien", rating=None, correction=None, **message):
    return {
        "request": {"messages": [{"role": "user", "content": text}]},
        "answer": [{"role": "assistant", "content": said, **message}],
        "rating": rating,
        "correction": correction,
    }


def test_good_answers_and_edits_become_rows():
    calls = [{"id": "c", "type": "function", "function": {"name": "dice", "arguments": "{}"}}]
    tool = {"type": "function", "function": {"name": "dice", "parameters": {"type": "object"}}}
    called = given("dice", None, "good", tool_calls=calls)
    called["request"]["tools"] = [tool]
    made = traffic.chats(
        [
            given("dog", rating="good"),
            given("cat", rating="bad"),
            given("cow", rating="bad", correction="une vache"),
            given("owl"),
            given("dog", "le chien", "good"),
            given("void", " ", "good"),
            called,
        ]
    )
    rows = rows_of(made.rows, "rows")
    assert [(row.first_request, row.answer.content) for row in rows] == [
        ("cow", "une vache"),
        ("dog", "le chien"),
        ("dice", ""),
    ]
    assert rows[2].answer.calls[0].name == "dice"
    assert (made.count, made.left_out) == (
        3,
        {"called bad": 1, "not rated": 1, "asked again": 1, "empty": 1},
    )
    assert traffic.chats([given("owl")], unrated=True).count == 1


def test_edits_become_preference_pairs():
    made = traffic.pairs(
        [
            given("cow", "un vache", "bad", "une vache"),
            given("dog", "un chien", "good", "un chien"),
            given("owl", rating="good"),
        ]
    )
    [pair] = pairs_of(made.rows, "pairs")
    assert (pair.preferred.answer.content, pair.refused.answer.content) == ("une vache", "un vache")
    assert made.left_out == {"nothing to tell apart": 1, "not corrected": 1}


@pytest.mark.parametrize("make", [traffic.chats, traffic.pairs])
def test_nothing_is_made_of_nothing(make):
    with pytest.raises(TrainingDataError, match="1 not"):
        make([given("owl")])
    with pytest.raises(TrainingDataError, match="nothing was kept"):
        make([])


def test_traffic_becomes_rows_with_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with live(tmp_path / "server") as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        with connected(server.url) as client:
            for number in range(120):
                sent = ask(client, f"raise {number}, ada@sea.org", "ada/coach")
                rate(
                    client,
                    sent.id,
                    "bad" if number % 2 else "good",
                    "no" if number % 4 == 1 else None,
                )
        command = ("data", "from-traffic", "ada/coach", "--output")
        ran = myriad(*command, "rows.jsonl")
        assert ran.code == 0, ran.err
        assert "30 called bad" in ran.out
        rows = rows_of((tmp_path / "rows.jsonl").read_bytes(), "rows")
        assert len(rows) == 90
        assert all("[email]" in row.first_request for row in rows)
        assert myriad(*command, "pairs.jsonl", "--pairs").code == 0
        assert len(pairs_of((tmp_path / "pairs.jsonl").read_bytes(), "pairs")) == 30
        ran = myriad(*command, "plain.jsonl", "--no-redact", "--json")
        assert json.loads(ran.out)["rows"] == 90
        assert "ada@sea.org" in (tmp_path / "plain.jsonl").read_text()
        ran = myriad(*command, "none.jsonl", "--since", "2999-01-01")
        assert (ran.code, "nothing was kept" in ran.err) == (1, True)


def test_what_no_specialist_answered_becomes_rows_with_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with live(tmp_path / "server") as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        with connected(server.url) as client:
            ask(client, "not this", "ada/coach")
            answers = [ask(client, f"thing {n}", BASE) for n in range(2)]
        ran = myriad("feedback", answers[0].id, "bad", "--correction", "A thing.")
        assert (ran.code, ran.out) == (0, "the base: bad\n")
        ran = myriad("data", "from-traffic", "--output", "rows.jsonl", "--json")
        assert json.loads(ran.out)["left_out"] == {"not rated": 1}
    [row] = rows_of((tmp_path / "rows.jsonl").read_bytes(), "rows")
    assert (row.first_request, row.answer.content) == ("thing 0", "A thing.")
