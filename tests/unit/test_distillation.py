"""Distillation from a teacher over HTTP: one that is good, slow, broken, or talks nonsense."""

import asyncio
import json
import re
import socket
from contextlib import contextmanager

import pytest
from cli_world import live, myriad
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from tiny import tiny_base
from web import serve

from registry.base import BaseSpec
from registry.job import Distillation, Status, Task
from registry.registry import Registry
from specialists.errors import TeacherFailed, TrainingDataError, TrainingStopped
from specialists.training import teacher as teachers
from specialists.training.distillation import Wanted, distil
from specialists.training.notebook import Notebook
from specialists.training.teacher import Address, Teacher
from specialists.training.trainer import Trainer

BRIEF = "Answer with the colour of what is asked about."


def said(text, finish="stop", tokens=10):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return JSONResponse({"choices": [choice], "usage": {"total_tokens": tokens}})


class Scripted:
    """A teacher who thinks of requests by number, answers each, and grades by its length."""

    def __init__(self):
        self.asked = []
        self.keys = set()
        self.answer = lambda request: said(f"the colour of {request}")
        self.grade = lambda _prompt: said("5")
        self.think = lambda known: said(
            "\n".join(f"{n}. thing {n}" for n in range(known, known + 20))
        )
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.chat)

    def numbered(self, first):
        return said("\n".join(f"{n}. thing {n}" for n in range(first, first + 20)))

    async def chat(self, request: Request):
        body = await request.json()
        self.keys.add(request.headers.get("authorization"))
        self.asked.append(body)
        prompt = body["messages"][-1]["content"]
        if prompt.startswith("Think of"):
            known = [int(n) for n in re.findall(r"^thing (\d+)$", prompt, re.M)]
            return self.think(max(known, default=-1) + 1)
        if prompt.startswith("An assistant has these instructions"):
            return self.grade(prompt)
        return self.answer(prompt)


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def url(scripted, monkeypatch):
    monkeypatch.setattr(teachers, "FIRST_WAIT_SECONDS", 0.001)
    with serve(scripted.app) as url:
        yield f"{url}/v1"


@pytest.fixture
def run(url, tmp_path):
    def ran(wanted, requests=(), budget=100_000, url=url, **options):
        async def asking():
            notebook = Notebook(tmp_path / "answers.jsonl")
            async with Teacher(url, "large", notebook, budget=budget, **options) as teacher:
                return await distil(teacher, wanted, requests, lambda *_: None)

        return asyncio.run(asking())

    return ran


def pairs(found):
    rows = [json.loads(line)["messages"] for line in found.rows.splitlines()]
    return [(turns[0]["content"], turns[1]["content"]) for turns in rows]


def test_requests_are_thought_of_answered_and_kept(run, scripted):
    found = run(Wanted(BRIEF, 30), key="secret")
    assert pairs(found) == [(f"thing {n}", f"the colour of thing {n}") for n in range(30)]
    assert (found.kept, found.rejected, found.stopped) == (30, {}, None)
    assert found.tokens == 10 * len(scripted.asked) == 10 * (2 + 30 + 30)
    assert scripted.keys == {"Bearer secret"}
    answered = [body["messages"] for body in scripted.asked if len(body["messages"]) == 2]
    assert all(turns[0] == {"role": "system", "content": BRIEF} for turns in answered)


def test_what_was_answered_is_not_asked_again(run, scripted, tmp_path):
    first = run(Wanted(BRIEF, 30))
    count = len(scripted.asked)
    assert run(Wanted(BRIEF, 30)) == first
    assert len(scripted.asked) == count
    # Cut off in the middle of a line: that answer alone is asked for again.
    notes = tmp_path / "answers.jsonl"
    notes.write_text(notes.read_text()[:-20])
    assert run(Wanted(BRIEF, 30)).rows == first.rows
    assert len(scripted.asked) == count + 1
    assert run(Wanted(BRIEF, 30)).rows == first.rows
    assert len(scripted.asked) == count + 1


def test_given_requests_are_answered_without_a_brief(run, scripted):
    found = run(Wanted(None, 3, judged=False), ["the sky", "THE SKY?", "grass", "snow"])
    assert [request for request, _ in pairs(found)] == ["the sky", "grass", "snow"]
    assert [len(body["messages"]) for body in scripted.asked] == [1, 1, 1]


def test_what_is_not_good_is_left_out_and_counted(run, scripted):
    answers = {
        "a": said(" "),
        "b": said("and so on", "length"),
        "c": said("poor"),
        "d": said("good"),
    }
    scripted.answer = lambda request: answers[request]
    scripted.grade = lambda prompt: said("2/5" if "poor" in prompt else "I give it a 5")
    found = run(Wanted(None, 4), ["a", "b", "c", "d"])
    assert pairs(found) == [("d", "good")]
    assert found.rejected == {"empty": 1, "cut short": 1, "judged poor": 1}
    assert found.rejection_rate == 0.75


def test_a_budget_is_kept_and_what_it_bought_is_used(run, scripted):
    found = run(Wanted(None, 40, judged=False), [f"thing {n}" for n in range(40)], budget=100)
    # As many as are asked at once may go beyond it.
    assert 10 <= found.kept < 10 + teachers.AT_ONCE
    assert f"{40 - found.kept} of 40" in found.stopped
    more = run(Wanted(None, 40, judged=False), [f"thing {n}" for n in range(40)], budget=10_000)
    assert (more.kept, more.stopped) == (40, None)
    assert len(scripted.asked) == 40


def test_a_budget_of_nothing_buys_nothing(run, scripted):
    with pytest.raises(TrainingDataError, match="the budget was spent before 1 of 1"):
        run(Wanted(None, 1), ["a"], budget=0)
    with pytest.raises(TrainingDataError, match="budget of 0 tokens is spent"):
        run(Wanted(BRIEF, 1), budget=0)
    assert scripted.asked == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda: JSONResponse({"error": {"message": "busy"}}, 503),
        lambda: JSONResponse({}, 429, {"retry-after": "0"}),
        lambda: JSONResponse({}, 429, {"retry-after": "soon"}),
        lambda: PlainTextResponse("<html>"),
        lambda: JSONResponse({"choices": []}),
        lambda: JSONResponse({"choices": [{"message": {"content": None}}]}),
        lambda: JSONResponse([1]),
        lambda: said("blue", tokens=-10_000),
        lambda: PlainTextResponse(said("blue").body.replace(b"10", b"1e400")),
        lambda: PlainTextResponse(said("blue").body.replace(b"blue", b"\\ud800")),
        lambda: PlainTextResponse("[" * 100_000),
        lambda: PlainTextResponse(" " * (teachers.MOST_BYTES + 1) + "{}"),
    ],
)
def test_faults_are_outlasted(run, scripted, fault):
    faults = iter([fault(), fault()])
    scripted.answer = lambda _request: next(faults, None) or said("blue")
    assert pairs(run(Wanted(None, 1, judged=False), ["the sky"])) == [("the sky", "blue")]
    assert len(scripted.asked) == 3


def test_a_teacher_that_never_answers_is_given_up(run, scripted, monkeypatch):
    monkeypatch.setattr(teachers, "PATIENCE_SECONDS", 0.0)
    scripted.answer = lambda _request: PlainTextResponse("<html>", 502)
    requests = [f"thing {number}" for number in range(40)]
    with pytest.raises(TeacherFailed, match=r"large did not answer in 5 tries.*status 502"):
        run(Wanted(None, 40), requests)
    # Those at once; nobody else waits for it.
    assert len(scripted.asked) <= teachers.TRIES * teachers.AT_ONCE


def test_nobody_is_waited_for_where_nobody_is(run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(TeacherFailed, match=r"did not answer in 5 tries.*ConnectError"):
            run(Wanted(None, 1), ["the sky"], url=url)


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host/v1", "http://[::1", "http://ho st/v1", "http://host:99999/v1"]
)
def test_an_address_that_can_be_nobodys_is_refused(run, url):
    with pytest.raises(TeacherFailed, match="write it like https://host/v1"):
        run(Wanted(None, 1), ["the sky"], url=url)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(run, scripted, key):
    with pytest.raises(TeacherFailed, match="the key for the teacher is none") as refused:
        run(Wanted(None, 1), ["the sky"], key=key)
    assert key not in str(refused.value)
    assert scripted.asked == []


def test_a_teacher_that_is_away_for_a_moment_costs_no_request(run, scripted):
    away = iter(range(teachers.AT_ONCE * (teachers.TRIES + 1)))
    # It goes while some are answered, of those that were asked at once.
    here = iter(range(teachers.AT_ONCE // 2))
    answer = scripted.answer
    scripted.answer = lambda request: (
        answer(request)
        if next(here, None) is not None or next(away, None) is None
        else PlainTextResponse("<html>", 503)
    )
    found = run(Wanted(None, 20, judged=False), [f"thing {number}" for number in range(20)])
    assert (found.kept, found.stopped) == (20, None)


def test_a_request_that_the_teacher_alone_fails_on_is_left_out(run, scripted):
    answer = scripted.answer
    scripted.answer = lambda request: (
        PlainTextResponse("<html>", 500) if request == "thing 3" else answer(request)
    )
    found = run(Wanted(None, 20, judged=False), [f"thing {number}" for number in range(20)])
    assert (found.kept, found.rejected) == (19, {"no answer": 1})
    assert re.match("1 of 20 requests were not answered: large did not answer in", found.stopped)


def test_a_refusal_is_not_asked_again_and_told_in_short(run, scripted):
    message = "no such model, " + "but others " * 1000
    scripted.think = lambda _known: JSONResponse({"error": {"message": message}}, 404)
    with pytest.raises(TeacherFailed, match="refused: 404, no such model") as refused:
        run(Wanted(BRIEF, 1))
    assert len(str(refused.value)) < 600
    assert len(scripted.asked) == 1


async def silent():
    await asyncio.Event().wait()
    yield b""


async def endless():
    while True:
        yield b" "
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("slow", [silent, endless])
def test_a_slow_teacher_is_asked_again(run, scripted, slow):
    slowly = iter([StreamingResponse(slow())])

    async def chat():
        return next(slowly, None) or said("blue")

    scripted.app.router.routes.clear()
    scripted.app.post("/v1/chat/completions")(chat)
    found = run(Wanted(None, 1, judged=False), ["the sky"], seconds=0.5)
    assert pairs(found) == [("the sky", "blue")]


def test_nobody_asks_on_when_the_job_was_stopped(url, tmp_path):
    def stopped(*_):
        raise TrainingStopped("by its owner")

    async def asking():
        async with Teacher(url, "large", Notebook(tmp_path / "answers.jsonl")) as teacher:
            requests = [f"thing {n}" for n in range(30)]
            with pytest.raises(TrainingStopped):
                await distil(teacher, Wanted(None, 30, judged=False), requests, stopped)
            return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(asking()) == set()


def test_a_teacher_that_thinks_of_nothing_new_is_asked_no_more(run, scripted):
    scripted.think = lambda _known: said("- thing one\n* thing two\n3) Thing, ONE!\n\n")
    found = run(Wanted(BRIEF, 10, judged=False))
    assert [request for request, _ in pairs(found)] == ["thing one", "thing two"]
    assert len(scripted.asked) == 1 + 3 + 2


@contextmanager
def trained_on(tmp_path, monkeypatch):
    """A server whose jobs are done as soon as they are asked for."""
    base = tiny_base(tmp_path / "tiny-llama")
    spec = BaseSpec.from_folder(base.folder, base.name)
    with live(tmp_path / "server", spec) as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
        follow = "deploy.cli.jobs._follow"
        from deploy.cli import jobs

        after = jobs._follow

        def done(*words):
            assert Trainer(server.registry, base, "me").work()
            after(*words)

        monkeypatch.setattr(follow, done)
        yield server


def test_from_a_brief_to_a_specialist_with_one_command(url, scripted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYRIAD_TEACHER_KEY", "mine")
    (tmp_path / "brief.txt").write_text(BRIEF)
    words = ["eve/colours", "--teacher", url, "--teacher-model", "large", "--brief", "brief.txt"]
    more = ["--count", "24", "--license", "llama3.1", "--effort", "quick"]
    with trained_on(tmp_path, monkeypatch) as server:
        ran = myriad("distill", *words, *more)
        assert ran.code == 0, ran.err + ran.out
        for text in ("Asking the teacher 24/24", "24 answers", "tokens", "succeeded"):
            assert text in ran.out
        assert scripted.keys == {"Bearer mine"}
        job = server.registry.jobs.list(1)[0][0]
        assert job.status == Status.SUCCEEDED
        made = server.registry.versions("eve/colours")
        [teacher] = server.registry.card(made[0].digest).origins.teachers
        assert (teacher.name, teacher.license, teacher.rejected) == ("large", "llama3.1", 0.0)
        assert teacher.tokens == 10 * len(scripted.asked)
        assert server.registry.card(made[0].digest).description == BRIEF


def test_the_served_base_teaches_how_it_answers_when_it_is_told_something(tmp_path, monkeypatch):
    asked = tmp_path / "asked.txt"
    asked.write_text("\n".join(f"thing {number}" for number in range(24)))
    with trained_on(tmp_path, monkeypatch) as server:
        words = ["--brief", BRIEF, "--prompts", str(asked), "--effort", "quick"]
        ran = myriad("distill", "eve/colours", *words)
        assert ran.code == 0, ran.err + ran.out
        told = {generation.prompt[0].content for generation in server.engine.generations}
        assert told == {BRIEF}
        assert all(generation.adapter is None for generation in server.engine.generations)
        job = server.registry.jobs.list(1)[0][0]
        assert (job.task.instruction, job.task.teacher.name) == (BRIEF, "tiny-llama")
        assert "divergence" in ran.out


def test_rows_alone_need_no_server(url, tmp_path, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    (tmp_path / "asked.txt").write_text("the sky\n\ngrass\n")
    words = ["eve/colours", "--teacher", url, "--teacher-model", "large", "--no-train", "--json"]
    ran = myriad("distill", *words, "--prompts", str(tmp_path / "asked.txt"))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out.splitlines()[-1])
    assert (found["event"], found["kept"]) == ("distilled", 2)
    assert len((tmp_path / "distilled/eve/colours/rows.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what it shall do"),
        (["--teacher-model", "", "--brief", "x"], "say whom to ask there"),
        (["--brief", " "], "the brief is empty"),
        (["--brief", "x", "--budget", "0"], "budget of 0 tokens is spent"),
    ],
)
def test_what_cannot_be_distilled_is_refused(url, tmp_path, monkeypatch, words, said):
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    ran = myriad("distill", "a/b", "--teacher", url, "--teacher-model", "x", *words)
    assert ran.code != 0
    assert said in ran.err


# By the server


WISH = {"teacher": "large", "brief": BRIEF, "count": 24}


@pytest.fixture
def asked_for(url, tmp_path):
    """A registry of a tiny base, and what does its jobs with the scripted teacher."""
    base = tiny_base(tmp_path / "tiny-llama")
    registry = Registry.open(tmp_path / "home", BaseSpec.from_folder(base.folder, base.name))
    address = Address(url, "large", "mine", "llama3.1")

    def ask(wish):
        asked = Distillation.model_validate(wish)
        file = registry.data.add("wish.json", asked.model_dump_json().encode(), "distillation").id
        more = {"hyperparameters": {"n_epochs": 1, "rank": 2}, "distils": asked.teacher}
        task = Task(model=base.name, training_file=file, **more)
        return registry.jobs.create("eve/colours", task)

    def work(**teachers):
        trainer = Trainer(registry, base, "me", teachers=teachers or {"large": address})
        return trainer.work()

    yield registry, ask, work
    registry.close()


def test_a_job_has_a_teacher_asked_and_learns_its_answers(asked_for, scripted):
    registry, ask, work = asked_for
    job = ask(WISH)
    assert work()
    done = registry.jobs.get(job.id)
    assert done.status == Status.SUCCEEDED, done.error
    origins = registry.get("eve/colours").card.origins
    [teacher] = origins.teachers
    assert (teacher.name, teacher.license, teacher.rejected) == ("large", "llama3.1", 0)
    assert teacher.tokens == 10 * len(scripted.asked)
    assert origins.datasets[0].name == "large.jsonl"
    assert scripted.keys == {"Bearer mine"}
    # The rows are there to be looked at, and to be trained on again.
    content = registry.data.path(done.task.training_file).read_bytes()
    assert len(content.splitlines()) == 24
    told = [event.message for event in registry.jobs.events(job.id, 100)[0]]
    assert "24 answers of large are learnt from." in told
    assert any(message.startswith("Asking the teacher 24/24") for message in told)


def test_a_job_that_was_paused_asks_nothing_twice(asked_for, scripted):
    registry, ask, work = asked_for
    job = ask(WISH)
    answer, grades = scripted.answer, iter(range(1000))

    def paused(request):
        if next(grades) == 10:
            registry.jobs.pause(job.id)
        return answer(request)

    scripted.answer = paused
    work()
    assert registry.jobs.get(job.id).status == Status.PAUSED
    before = {json.dumps(body) for body in scripted.asked}
    registry.jobs.resume(job.id)
    scripted.asked.clear()
    work()
    assert registry.jobs.get(job.id).status == Status.SUCCEEDED
    again = [body for body in scripted.asked if json.dumps(body) in before]
    # Those that were on their way when it was paused, at the most.
    assert len(again) <= teachers.AT_ONCE


def test_a_job_that_was_cancelled_waits_for_no_teacher(asked_for, scripted):
    registry, ask, work = asked_for
    job = ask(WISH)

    def cancelled(_known):
        registry.jobs.cancel(job.id)
        return StreamingResponse(silent())

    scripted.think = cancelled
    assert work()
    assert registry.jobs.get(job.id).status == Status.CANCELLED
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("wish", "code", "said"),
    [
        (WISH | {"budget": 1}, "teacher_failed|invalid_distillation", "budget"),
        (WISH | {"teacher": "gone"}, "teacher_failed", "no teacher of the name 'gone'"),
    ],
)
def test_a_teacher_that_says_nothing_fails_the_job(asked_for, wish, code, said):
    registry, ask, work = asked_for
    job = ask(wish)
    work()
    failed = registry.jobs.get(job.id)
    assert re.fullmatch(code, failed.error["code"])
    assert said in failed.error["message"]
    assert failed.error["param"] == "distillation"


def test_the_server_asks_with_one_command(tmp_path, monkeypatch):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the sky\ngrass\n")
    words = ("distill", "eve/colours", "--server-teacher", "large", "--prompts", str(prompts))
    with trained_on(tmp_path, monkeypatch):
        ran = myriad(*words)
        assert "no teacher 'large'; it has: none" in ran.err
