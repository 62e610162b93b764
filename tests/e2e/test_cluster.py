"""A second home beside the first, with two replicas of everything: any of them may be lost."""

import itertools
import json
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import openai
import psutil
import pytest
from clusters import command_of, free_port, furnish, running
from patience import HANGS, until
from prometheus_client.parser import text_string_to_metric_families
from test_api import BASE, ENDLESS, HARBOUR, upload

from deploy.demos import EXAMPLES
from deploy.entrance import OPEN
from deploy.nearby import ENGINES

MESSAGES = [{"role": "user", "content": "Say hello to everybody, one after the other."}]
SPECIALISTS = sorted(f"demo/{each.name}" for each in EXAMPLES.iterdir() if each.is_dir())
TWO_OF_EACH = {"MYRIAD_ENGINE__REPLICAS": "2", "MYRIAD_ROUTER__REPLICAS": "2"}
ROWS = 8
SMALL = {"MYRIAD_ENGINE__MAX_ROWS": str(ROWS), "MYRIAD_ENGINE__MAX_WAITING": "4"}


@pytest.fixture(scope="module")
def second(cluster, prepared_home, tmp_path_factory):
    """Another cluster, in a home of its own, while the first one runs."""
    home = tmp_path_factory.mktemp("second")
    furnish(home, prepared_home)
    with running(home, free_port(), home / "up.log", **TWO_OF_EACH, **SMALL) as second:
        # It is ready with the first engine, and either router may know of the other a little later.
        until(lambda: all(engines(second) == 2 for _ in range(6)))
        yield second


@pytest.fixture(scope="session")
def ending():
    """Processes of which none is left when all tests are done."""
    processes = []
    yield processes
    assert gone(processes)


def gone(processes):
    """Whether all of them end in time; an orphan whose foster parent does not reap it has ended."""
    _, alive = psutil.wait_procs(processes, timeout=HANGS)
    left = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    return left == []


def is_agent(process):
    return "Agent" in " ".join(command_of(process)[:1])


def figures(cluster, name):
    """What each engine tells under a name."""
    with cluster.http() as http:
        families = text_string_to_metric_families(http.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return [each.value for each in samples if each.name == name]


def engines(cluster):
    return len(figures(cluster, "myriad_engine_memory_bytes"))


def residents(cluster):
    return sum(figures(cluster, "myriad_engine_adapters_resident"))


def test_an_adapter_is_resident_where_it_is_asked_for_and_nowhere_else(second):
    """Six adapters, asked for eight times each: sent to any engine, nearly all would be in both.

    One or two may be: a router goes by what engines said a second ago.
    """
    with second.openai() as client:
        for specialist in SPECIALISTS * 8:
            client.chat.completions.create(model=specialist, messages=MESSAGES, max_tokens=2)
    assert 6 == len(SPECIALISTS) <= residents(second) <= 8


def test_who_finds_no_room_anywhere_is_told_when_to_come_back(second):
    asked = ENDLESS | {"model": BASE, "stream": True, "n": ROWS, "max_tokens": 2000}
    with second.openai() as client, ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(client.chat.completions.create(**asked))
        with pytest.raises(openai.RateLimitError) as refusal:
            client.chat.completions.create(**asked)
    assert int(refusal.value.response.headers["retry-after"]) >= 1


def test_every_router_replica_learns_of_a_registration(second, client):
    """Requests on connections of their own go to either replica; soon none of them knows less."""
    assert len(second.named(":router")) == 2
    with second.http() as http:
        assert upload(http, "acme/ferries", examples=HARBOUR).status_code == 201
    deadline, agreed = time.monotonic() + HANGS, 0
    while agreed < 20:
        with second.http() as http:
            chosen = http.post("/v1/route", json={"input": HARBOUR[0]}).json()["specialist"]
        agreed = agreed + 1 if chosen == "acme/ferries" else 0
        assert time.monotonic() < deadline
    assert "acme/ferries" not in {model.id for model in client.models.list()}


def test_an_engine_that_hangs_takes_nothing_else_out_of_service(second):
    hangs = second.named("ServeReplica:myriad:engine")[0]
    hangs.suspend()
    try:
        with second.http() as http:
            # Whichever router is asked.
            assert {http.get("/readyz").status_code for _ in range(6)} == {200}
        assert engines(second) == 1
    finally:
        hangs.resume()
    until(lambda: engines(second) == 2)


def test_an_engine_of_another_machine_that_hangs_fails_nobody(second):
    """Serve alone reaches it there, and would wait for a minute or two until it is replaced."""
    hangs = second.named("ServeReplica:myriad:engine")[0]
    with second.openai().with_options(max_retries=0) as client, out_of_reach(hangs):
        hangs.suspend()
        try:
            for specialist in SPECIALISTS:
                client.chat.completions.create(model=specialist, messages=MESSAGES, max_tokens=2)
        finally:
            hangs.resume()


@contextmanager
def out_of_reach(engine):
    """Have the engines' sockets where nobody looks for them, as on another machine."""
    bound = (Path(each.laddr) for each in engine.net_connections("unix") if each.laddr)
    [folder] = {path.parent for path in bound if path.parent.name == ENGINES}
    sockets = list(folder.glob(OPEN))
    away = [socket.rename(folder / f".away-{socket.name}") for socket in sockets]
    try:
        yield
    finally:
        for there, here in zip(away, sockets, strict=True):
            there.rename(here)


def test_who_has_not_begun_to_read_does_not_notice_that_engines_are_killed(second):
    """Engines are killed four times, one after the other, while twelve clients ask 60 requests."""
    answered, kills, done = threading.Semaphore(0), itertools.count(1), 0

    def ask(number):
        with second.openai() as client:
            answer = client.chat.completions.create(
                model=SPECIALISTS[number % 6], messages=MESSAGES, max_tokens=24
            )
        answered.release()
        return answer.choices[0].message.content

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, number) for number in range(60)]
        while next(kills) <= 4:
            for _ in range(10):
                answered.acquire()
                done += 1
            second.named(":engine")[0].kill()
        assert all(each.result() is not None for each in asked)
    assert done == 40
    # What Ray says of it is in its logs: whoever reads one line of ours is not written to for ever.
    assert select.select([second.process.stdout], [], [], 0)[0] == []


def test_a_batch_outlives_the_routers_that_work_on_it(second, tmp_path):
    sampling = {"max_tokens": 24, "temperature": 0, "logit_bias": ENDLESS["logit_bias"]}
    bodies = [{"model": SPECIALISTS[at % 6], "messages": MESSAGES, **sampling} for at in range(60)]
    file = tmp_path / "asked.jsonl"
    fixed = {"method": "POST", "url": "/v1/chat/completions"}
    lines = [{"custom_id": str(at), **fixed, "body": body} for at, body in enumerate(bodies)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with second.openai() as client:
        sent = client.files.create(file=file, purpose="batch")
        batch = client.batches.create(
            input_file_id=sent.id, endpoint=fixed["url"], completion_window="24h"
        )

        def counted():
            try:
                return client.batches.retrieve(batch.id).request_counts.completed
            except openai.APIError:
                return 0

        until(lambda: counted() >= 4, 0.01)
        for router in second.named(":router"):
            router.kill()
        until(lambda: counted() == 60)
        until(lambda: client.batches.retrieve(batch.id).status == "completed")
        done = client.batches.retrieve(batch.id)
        answers = [
            json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()
        ]
        assert [each["custom_id"] for each in answers] == [str(at) for at in range(60)]
        told = [each["response"]["body"]["choices"][0]["message"]["content"] for each in answers]
        for at in range(6):
            alone = client.chat.completions.create(**bodies[at])
            assert {told[at + turn] for turn in range(0, 60, 6)} == {
                alone.choices[0].message.content
            }


def test_a_home_that_was_killed_starts_again_as_it_was(second, client, ending):
    with second.http() as http:
        assert http.delete("/v1/specialists/demo/city-desk").status_code == 200
    killed = second.family()
    second.process.kill()
    second.process.wait(HANGS)
    with running(second.home, free_port(), second.log, MYRIAD_DEMOS="false") as restarted:
        with restarted.http() as http:
            assert http.get("/v1/specialists/acme/ferries").status_code == 200
            assert http.get("/v1/specialists/demo/city-desk").status_code == 404
        # Ray's agents, which hold nothing, take a minute to notice.
        ending += killed
        assert gone([each for each in killed if not is_agent(each)])
        stopped = restarted.family()
        restarted.process.send_signal(signal.SIGINT)
        assert restarted.process.wait(HANGS) == 0
        assert gone(stopped)
    assert "Traceback" not in second.log.read_text()
    assert client.models.list().data
