"""The commands that talk to a server, against Myriad's own API over real loopback HTTP."""

import io
import json
import re
import shutil

import pytest
import tiny_adapter
from cli_world import MLX, Terminal, adapter_folder, live, myriad
from scripted import echo, thinker

from registry.batch import Status
from registry.job import Task
from router.engine import Delta, Usage
from router.errors import Unavailable
from router.sampling import Sampling

RAISE = "help me ask for a raise"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with live(tmp_path_factory.mktemp("home")) as world:
        yield world


@pytest.fixture(autouse=True)
def server(world, monkeypatch):
    monkeypatch.setenv("MYRIAD_URL", world.url)
    yield world
    world.engine.script, world.engine.is_ready = echo, True


def lines(text: str) -> list:
    return [json.loads(line) for line in text.splitlines()]


def test_chat_answers_on_stdout_and_says_who_on_stderr():
    ran = myriad("chat", RAISE)
    assert (ran.code, ran.out) == (0, f"{RAISE}\n")
    # Before its probe is fitted, or after.
    assert re.match(r"ada/coach · (0\.6\d|1\.00) · ", ran.err)
    assert "is like its examples" in ran.err


def test_chat_by_name_and_the_base():
    assert myriad("chat", RAISE, "--model", "bob/pirate").err.startswith("bob/pirate · ")
    assert myriad("chat", RAISE, "--model", "tiny").err.startswith("the base (tiny) · ")


def test_chat_for_programs():
    (answer,) = lines(myriad("chat", RAISE, "--json").out)
    assert answer["content"] == RAISE
    assert answer["model"] == answer["routing"]["specialist"] == "ada/coach"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > 0


def test_chat_shows_what_is_thought_beside_the_answer(server):
    server.engine.script = thinker
    ran = myriad("chat", RAISE)
    assert ran.out == "Yes.\n"
    assert ran.err.endswith("\nI see.\n\n")
    (answer,) = lines(myriad("chat", RAISE, "--json").out)
    assert (answer["content"], answer["reasoning_content"]) == ("Yes.", "I see.")


def test_chat_passes_its_options_on(server):
    options = {"--max-tokens": 3, "--temperature": 0.5, "--seed": 8, "--system": "be brief"}
    myriad("chat", "hi", *(str(word) for pair in options.items() for word in pair))
    asked = server.engine.generations[-1]
    assert asked.sampling == Sampling(max_tokens=3, temperature=0.5, seed=8)
    assert [(turn.role, turn.content) for turn in asked.prompt] == [
        ("system", "be brief"),
        ("user", "hi"),
    ]


@pytest.mark.parametrize("words", [("chat",), ("chat", "-")])
def test_chat_reads_a_pipe_as_one_message(words):
    assert myriad(*words, stdin=io.StringIO("two\nlines\n")).out == "two\nlines\n"


def test_a_text_that_is_no_utf8_is_misuse():
    broken = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8")
    assert myriad("chat", stdin=broken).code == 2
    assert myriad("chat", "\udcff").code == 2


def test_a_conversation_remembers_until_it_is_reset(server):
    typed = "one\n\ntwo\n/reset\nthree\n/model bob/pirate\nfour\n/what\n/quit\nnever\n"
    before = len(server.engine.generations)
    ran = myriad("chat", stdin=Terminal(typed))
    assert ran.code == 0
    asked = server.engine.generations[before:]
    assert [[turn.content for turn in each.prompt] for each in asked] == [
        ["one"],
        ["one", "one", "two"],
        ["three"],
        ["three", "three", "four"],
    ]
    assert "forgotten" in ran.err
    assert "bob/pirate answers from now on" in ran.err
    assert ran.err.count("/reset forgets") == 2


def test_the_end_of_input_ends_a_conversation():
    assert myriad("chat", stdin=Terminal("one\n")).code == 0


def test_an_error_ends_the_turn_but_not_the_conversation(server):
    ran = myriad("chat", stdin=Terminal("/model ada/coch\none\n/model auto\ntwo\n"))
    assert ran.code == 0
    assert "error: " in ran.err
    assert "'ada/coach'" in ran.err
    assert [turn.content for turn in server.engine.generations[-1].prompt] == ["two"]


def test_ctrl_c_ends_the_turn_but_not_the_conversation(monkeypatch):
    from deploy.client import Client

    chat, asked = Client.chat, []

    def interrupted(self, messages, model, **sampling):
        asked.append(messages)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return chat(self, messages, model, **sampling)

    monkeypatch.setattr(Client, "chat", interrupted)
    ran = myriad("chat", stdin=Terminal("one\ntwo\n"))
    assert ran.code == 0
    assert "stopped" in ran.err
    assert [len(messages) for messages in asked] == [1, 1]


def test_an_answer_cannot_steer_the_terminal(server):
    server.engine.script = lambda _: [
        Delta(0, "a\x1b]0;title\x07b", 1, finish_reason="stop"),
        Usage(1, 1),
    ]
    assert myriad("chat", "hi").out == "a�]0;title�b\n"
    assert lines(myriad("chat", "hi", "--json").out)[0]["content"] == "a\x1b]0;title\x07b"


def test_what_the_server_refuses_is_an_error(server):
    ran = myriad("chat", "hi", "--model", "ada/coch", "--json")
    assert ran.code == 1
    assert "'ada/coach'" in lines(ran.out)[0]["error"]["message"]
    server.engine.script = lambda _: [Delta(0, "par", 1), Unavailable(message="gone fishing")]
    ran = myriad("chat", "hi")
    assert (ran.code, ran.out) == (1, "par")
    assert ran.err.endswith("error: gone fishing\n")


def test_route_lists_candidates():
    ran = myriad("route", RAISE)
    assert ran.code == 0
    coach, pirate = ran.out.splitlines()[1:3]
    assert re.fullmatch(r"ada/coach +1 +[01]\.\d\d +chosen", coach)
    assert pirate.split()[:2] == ["bob/pirate", "1"]
    assert "chosen" not in pirate
    assert "ada/coach answers: The last message is like its examples" in ran.out
    decision = json.loads(myriad("route", RAISE, "--json").out)
    assert [each["specialist"] for each in decision["candidates"]] == ["ada/coach", "bob/pirate"]


def test_route_explains_itself_with_bars_and_near_examples():
    ran = myriad("route", RAISE, "--explain")
    assert ran.code == 0
    lines_ = ran.out.splitlines()
    coach = next(line for line in lines_ if line.startswith("ada/coach"))
    assert re.fullmatch(r"ada/coach +1 +[01]\.\d\d +█{12,24} +chosen", coach)
    assert any(line.startswith("the base") for line in lines_)
    [example] = [line for line in lines_ if line.startswith(RAISE)]
    assert example.split()[-2:] == ["ada/coach", "1.00"]
    for name in ("likeliest", "margin", "milliseconds", "generation"):
        assert name in ran.out
    assert "similarity" not in myriad("route", RAISE).out
    assert "likeliest" not in myriad("route", "xylophone", "--explain").out


def test_route_to_the_base():
    ran = myriad("route", "-", stdin=io.StringIO("xylophone"))
    assert "the base answers: " in ran.out
    assert "chosen" not in ran.out


def test_status_of_a_server_that_is_ready():
    myriad("chat", RAISE)
    ran = myriad("status")
    assert ran.code == 0
    assert "ada/coach" in ran.out
    found = json.loads(myriad("status", "--json").out)
    assert (found["state"], found["base"], found["missing"]) == ("ready", "tiny", [])
    assert (found["specialists"], found["examples"]) == (2, 4)
    assert found["generation"] >= 2
    assert found["answers"]["ada/coach"] >= 1
    assert found["output_tokens"] > 0


def test_status_of_fine_tuning(server):
    rows = server.registry.data.add("rows.jsonl", b"x").id
    jobs = [
        server.registry.jobs.create("ada/new", Task(model="tiny", training_file=rows))
        for _ in range(3)
    ]
    server.registry.jobs.pause(jobs[0].id)
    try:
        assert "2 waiting, 1 paused" in myriad("status").out
        found = json.loads(myriad("status", "--json").out)["jobs"]
        assert (found["queued"], found["paused"], found["failed"]) == (2, 1, 0)
    finally:
        for job in jobs:
            server.registry.jobs.cancel(job.id)


def test_status_of_batches(server):
    file = server.registry.data.add("asked.jsonl", b"x", "batch").id
    asked = [server.registry.batches.create(file, "/v1/embeddings") for _ in range(3)]
    server.registry.batches.cancel(asked[0].id)
    assert "2 begun, 1 ended" in myriad("status").out
    found = json.loads(myriad("status", "--json").out)["batches"]
    assert (found["validating"], found["cancelling"], found["completed"]) == (2, 1, 0)
    for _ in asked:
        taken = server.registry.batch_queue.take("me")
        server.registry.batch_queue.end(taken, "me", Status.CANCELLED)


def test_status_of_a_server_that_is_starting(server):
    server.engine.is_ready = False
    ran = myriad("status")
    assert ran.code == 1
    assert "starting" in ran.out
    assert "engine" in ran.out


def test_status_names_what_cannot_be_routed_to(server):
    server.follower.skipped["eve/old"] = "card.colour: Extra inputs are not permitted"
    ran = myriad("status")
    assert ran.code == 0
    assert "eve/old: card.colour" in ran.out
    assert json.loads(myriad("status", "--json").out)["skipped"] == server.follower.skipped
    server.follower.skipped.clear()


def test_status_of_no_server(monkeypatch):
    monkeypatch.setenv("MYRIAD_URL", "http://127.0.0.1:9")
    ran = myriad("status", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["state"] == "down"


@pytest.fixture
def folder(tmp_path):
    return adapter_folder(tmp_path / "work" / "adapter")


@pytest.fixture
def eve(server):
    yield "eve/new"
    myriad("specialists", "retire", "eve/new")


@pytest.mark.parametrize("place", ["adapter/card.yaml", "adapter/card.json", "card.yml"])
def test_register_finds_the_card(place, folder, eve):
    fields = {"description": f"From {place}.", "examples": ["sail away"]}
    card = {"id": "other/name", **fields}
    (folder.parent / place).write_text(json.dumps(card))
    ran = myriad("specialists", "register", eve, str(folder))
    assert ran.code == 0
    assert "eve/new" in ran.out
    assert "myriad chat --model eve/new" in ran.out
    assert "eve/new" in myriad("route", "sail away").out
    found = json.loads(myriad("specialists", "show", eve, "--json").out)
    assert (found["description"], found["id"]) == (f"From {place}.", "eve/new")


def test_register_prefers_what_is_given(folder, eve, tmp_path):
    (folder / "card.yaml").write_text("description: Beside.")
    given = tmp_path / "given.yaml"
    given.write_text("name: x/y\ndescription: Given.\ntags: [sea]")
    words = ("specialists", "register", eve, str(folder), "--card", str(given), "--json")
    made = json.loads(myriad(*words, "--description", "Typed.").out)
    assert (made["description"], made["tags"]) == ("Typed.", ["sea"])
    again = json.loads(myriad(*words).out)
    assert (again["description"], again["version"]) == ("Given.", made["version"] + 1)


def test_registering_the_same_again_moves_nothing_unless_it_is_asked_to(folder, eve):
    words = ("specialists", "register", eve, str(folder), "--description", "Once more.")
    assert "in service" in myriad(*words).out
    assert "in service" in myriad(*words).out
    newer = ("specialists", "register", eve, str(folder), "--description", "Newer.")
    newest = json.loads(myriad(*newer, "--json").out)
    again = myriad(*words)
    assert (
        again.code,
        "nothing was moved; myriad specialists promote eve/new@" in " ".join(again.out.split()),
    ) == (
        0,
        True,
    )
    shown = json.loads(myriad("specialists", "show", eve, "--json").out)
    assert shown["digest"] == newest["digest"]
    assert "in service" in myriad(*words, "--alias", "prod").out
    shown = json.loads(myriad("specialists", "show", eve, "--json").out)
    assert shown["version"] == newest["version"] - 1


def test_register_takes_what_mlx_trained(eve, tmp_path):
    folder = shutil.copytree(MLX, tmp_path / "trained")
    words = ("specialists", "register", eve, str(folder), "--description", "x")
    assert json.loads(myriad(*words, "--json").out)["warnings"] == []
    assert "in service" in myriad(*words).out
    (folder / "adapters.safetensors").write_bytes(b"")
    ran = myriad(*words)
    assert ran.code == 1
    assert f"the MLX adapter in {folder} cannot be read" in " ".join(ran.err.split())


def test_register_needs_a_description(folder):
    ran = myriad("specialists", "register", "eve/new", str(folder))
    assert ran.code == 2
    assert "--description" in ran.err


def test_register_refuses_before_it_sends(folder):
    words = ("specialists", "register", "eve/new", str(folder), "--description", "x")
    (folder / "card.yaml").write_text("tags: 7")
    ran = myriad(*words)
    assert ran.code == 1
    assert "card.tags" in ran.err
    (folder / "card.yaml").unlink()
    with (folder / "adapter_model.safetensors").open("ab") as file:
        file.truncate(1 << 40)
    assert "is over 256 MiB" in myriad(*words).err
    (folder / "adapter_config.json").unlink()
    assert "has no adapter_config.json" in myriad(*words).err
    assert "not an id" in myriad("specialists", "register", "Eve", str(folder)).err


def test_register_says_what_the_registry_refuses(folder):
    (folder / "adapter_config.json").write_bytes(tiny_adapter.config(r=5))
    ran = myriad("specialists", "register", "eve/new", str(folder), "--description", "x")
    assert ran.code == 1
    assert "adapter_" in ran.err


def test_list():
    ran = myriad("specialists", "list")
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["bob/pirate", "ada/coach"]
    for words in (("--search", "pirate"), ("--tag", "pay"), ("--limit", "1")):
        assert len(myriad("specialists", "list", *words).out.splitlines()) <= 3
    assert "bob/pirate" not in myriad("specialists", "list", "--tag", "pay").out
    assert "There are more" in myriad("specialists", "list", "--limit", "1").out
    assert myriad("specialists", "list", "--search", "zzz").out == "No specialist matches.\n"
    page = json.loads(myriad("specialists", "list", "--limit", "1", "--json").out)
    assert page["object"] == "list"
    assert page["has_more"]
    assert [each["id"] for each in page["data"]] == ["bob/pirate"]


def test_tree():
    drawn = [line.strip("├└─│ ") for line in myriad("specialists", "tree").out.splitlines()]
    assert drawn[0] == "2 specialists"
    assert {"ada/coach", "bob/pirate"} < set(drawn)
    assert any(line.startswith("pay ") for line in drawn)
    few = myriad("specialists", "tree", "--limit", "0").out
    assert "ada/coach" not in few
    assert "more" in few
    found = json.loads(myriad("specialists", "tree", "--domain", "pay", "--json").out)
    assert [domain["name"] for domain in found["domains"]] == ["pay"]


def test_route_takes_only_who_passes():
    chosen = myriad("route", RAISE, "--tag", "pay", "--threshold", "0").out
    assert "ada/coach answers" in chosen
    assert "bob/pirate" not in chosen
    nobody = myriad("route", RAISE, "--owner", "eve").out
    assert "No specialist passes the filters" in nobody
    assert myriad("route", RAISE, "--threshold", "3").code == 2


def test_show():
    ran = myriad("specialists", "show", "ada/coach")
    for text in ("Rehearses salary talks.", "sha256:", "pay", RAISE, "exact_match", "0.900"):
        assert text in ran.out
    assert json.loads(myriad("specialists", "show", "ada/coach", "--json").out)["version"] == 1
    assert myriad("specialists", "show", "ada/nobody").code == 1


def test_lineage(folder, tmp_path):
    card = {
        "id": "x/y",
        "description": "A child.",
        "origins": {
            "parents": ["ada/coach@1"],
            "datasets": [{"name": "talks.jsonl", "license": "mit"}],
        },
    }
    (folder / "card.json").write_text(json.dumps(card))
    assert myriad("specialists", "register", "eve/child", str(folder)).code == 0
    files = tmp_path / "graph.svg", tmp_path / "graph.graphml"
    ran = myriad("lineage", "eve/child", "--svg", str(files[0]), "--graphml", str(files[1]))
    assert ran.code == 0
    assert "parent: ada/coach@1 (prod)" in ran.out
    assert "dataset: talks.jsonl (mit)" in ran.out
    assert "<svg" in files[0].read_text()
    assert "talks.jsonl" in files[1].read_text()
    standing = myriad("lineage", "--dataset", "talks.jsonl")
    assert "on talks.jsonl (mit) stand" in standing.out
    assert "dataset: eve/child@1 (prod)" in standing.out
    assert "eve/child@1" in myriad("lineage", "ada/coach@1").out
    assert myriad("lineage", "--teacher", "nobody").out == "Nothing stands on it.\n"
    found = json.loads(myriad("lineage", "eve/child", "--json").out)
    assert {"focus", "nodes", "edges", "truncated"} < set(found)
    for words in ((), ("eve/child", "--base", "tiny")):
        assert myriad("lineage", *words).code == 2
    myriad("specialists", "retire", "eve/child")


def test_versions_are_promoted_and_rolled_back(folder):
    for text in ("First.", "Second."):
        myriad("specialists", "register", "eve/staged", str(folder), "--description", text)
    verb = ("specialists", "promote", "eve/staged@1")
    moved = myriad(*verb, "--expected", "1")
    assert moved.code == 1
    assert "points to version 2" in moved.err
    assert (
        myriad(*verb, "--expected", "2", "--reason", "calmer").out
        == "eve/staged:prod is version 1\n"
    )
    done = myriad("specialists", "promote", "eve/staged:latest", "--alias", "next", "--protect")
    assert done.out == "eve/staged:next is version 2, protected\n"
    assert (
        myriad("specialists", "promote", "eve/staged:next").out == "eve/staged:prod is version 2\n"
    )
    assert json.loads(myriad("specialists", "rollback", "eve/staged", "--json").out)["version"] == 1
    shown = myriad("specialists", "aliases", "eve/staged").out
    assert [line.split()[:2] for line in shown.splitlines()[1:] if "sha256" in line] == [
        ["next", "2"], ["prod", "1"],
    ]  # fmt: skip
    history = ("specialists", "aliases", "eve/staged", "--history", "prod")
    told = json.loads(myriad(*history, "--json").out)["data"]
    assert [(each["version"], each["reason"]) for each in told] == [
        (1, None), (2, None), (1, "calmer"), (2, None), (1, None),
    ]  # fmt: skip
    assert "calmer" in myriad(*history).out
    assert myriad("specialists", "promote", "eve/staged").code == 2
    tried = myriad("specialists", "canary", "eve/staged@2", "--share", "0.25")
    assert tried.out == "eve/staged@2 is tried on 25% of the requests\n"
    ended = myriad("specialists", "canary", "eve/staged@2", "--share", "0")
    assert ended.out == "eve/staged: nothing is tried any longer\n"
    gated = myriad(
        "specialists", "gate", "eve/staged", "f1", "exact_match=0.5", "--tolerance", "0.1"
    )
    assert gated.out == "eve/staged:prod is version 1, behind f1 ≥ current, exact_match ≥ 0.5\n"
    closed = myriad("specialists", "promote", "eve/staged@2")
    assert (closed.code, "no held-out score of f1" in closed.err) == (1, True)
    forced = ("--override", "--reason", "hurry")
    assert myriad("specialists", "promote", "eve/staged@2", *forced).code == 0
    assert myriad("specialists", "gate", "eve/staged").out == "eve/staged:prod is version 2\n"
    myriad("specialists", "retire", "eve/staged")


def test_scores(folder):
    myriad("specialists", "register", "eve/scored", str(folder), "--description", "x")
    told = myriad("specialists", "score", "eve/scored@1", "f1=0.5/0.25", "speed=3", "--rows", "9")
    assert "0.500" in told.out
    assert "0.250" in myriad("specialists", "show", "eve/scored").out
    for wrong in (["eve/scored", "f1=1"], ["eve/scored@1", "f1"], ["eve/scored@1", "f1=x"]):
        assert myriad("specialists", "score", *wrong).code == 2
    assert myriad("specialists", "release", "eve/scored").code == 2
    assert "is released" in myriad("specialists", "release", "eve/scored@1").out


@pytest.mark.parametrize(
    ("words", "typed"),
    [((), Terminal("y\n")), (("--yes",), Terminal()), ((), io.StringIO())],
)
def test_retire(folder, words, typed):
    myriad(
        "specialists",
        "register",
        "eve/new",
        str(folder),
        *["--description", "x", "--alias", "prod"],
    )
    ran = myriad("specialists", "retire", "eve/new", *words, stdin=typed)
    assert (ran.code, ran.out) == (0, "eve/new is retired\n")
    assert myriad("specialists", "show", "eve/new").code == 1
    assert "eve/new" in myriad("specialists", "restore", "eve/new").out
    for visibility in ("public", "private"):
        said = myriad("specialists", "visibility", "eve/new", visibility).out
        assert said == f"eve/new is {visibility}\n"
        assert visibility in myriad("specialists", "show", "eve/new").out
    assert myriad("specialists", "show", "eve/new").code == 0
