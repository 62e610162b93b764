"""Starting, stopping and killing: nothing lost, nothing left running."""

import json
import re
import signal
import time
from pathlib import Path

import openai
import psutil
import pytest
from clusters import command_of, free_port, furnish, running
from patience import HANGS

from deploy.demos import EXAMPLES
from deploy.ray_cluster import UNASKED
from deploy.remote_engine import ENGINE_LOST

MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="session")
def ending():
    """Processes of which none is left when all tests are done."""
    processes = []
    yield processes
    assert gone(processes)


@pytest.fixture
def second_home(prepared_home, tmp_path):
    furnish(tmp_path, prepared_home)
    return tmp_path


def gone(processes, seconds=HANGS):
    """Whether all of them end in time; an orphan whose foster parent does not reap it has ended."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    left = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    return left == []


def is_agent(process):
    return "Agent" in " ".join(command_of(process)[:1])


def test_no_process_runs_that_nobody_asks_anything(cluster):
    scripts = {Path(word).name for each in cluster.family() for word in command_of(each)}
    assert "gcs_server" in scripts
    assert not scripts & {f"{name}.py" for name in UNASKED}


def test_replicas_give_way_to_no_other_program(cluster):
    found = cluster.named(":engine") + cluster.named(":router")
    assert [each.nice() for each in found] == [psutil.Process().nice()] * 2


def test_the_same_home_is_refused_and_the_same_port_too(cluster, second_home):
    again = cluster.command("up")
    assert again.returncode == 1
    assert "is served already" in again.stderr
    cluster.home, home = second_home, cluster.home
    try:
        other = cluster.command("up")
    finally:
        cluster.home = home
    assert other.returncode == 1
    assert "MYRIAD_PORT" in other.stderr


def test_a_second_home_runs_beside_the_first_is_killed_and_starts_again(
    cluster, second_home, client, ending
):
    log = second_home / "up.log"
    small = {"MYRIAD_ENGINE__MAX_ROWS": "2", "MYRIAD_ENGINE__MAX_WAITING": "0"}
    two = {"MYRIAD_ENGINE__REPLICAS": "2", "MYRIAD_ROUTER__REPLICAS": "2"}
    with running(second_home, free_port(), log, MYRIAD_DEMOS="false", **small, **two) as other:
        with other.openai() as theirs:
            ours = {model.id for model in client.models.list()}
            assert {model.id for model in theirs.models.list()} < ours
            answer = theirs.chat.completions.create(
                model="auto", messages=MESSAGES, max_tokens=5, temperature=0
            )
            assert answer.choices[0].message.content
            with pytest.raises(openai.RateLimitError) as refusal:
                theirs.chat.completions.create(model="auto", messages=MESSAGES, n=3)
            assert int(refusal.value.response.headers["retry-after"]) >= 1
        every_router_replica_learns_of_a_registration(other)
        a_lost_engine_replica_leaves_the_other_answering(other)
        with other.http() as http:
            assert http.delete("/v1/specialists/acme/passing").status_code == 200
        killed = other.family()
        other.process.kill()
    with running(second_home, free_port(), log, MYRIAD_DEMOS="false") as restarted:
        with restarted.http() as http:
            assert http.get("/v1/specialists/acme/coach").status_code == 200
            assert http.get("/v1/specialists/acme/passing").status_code == 404
        # Ray's agents, which hold nothing, take a minute to notice.
        ending += killed
        assert gone([each for each in killed if not is_agent(each)])
        stopped = restarted.family()
        restarted.process.send_signal(signal.SIGINT)
        assert restarted.process.wait(HANGS) == 0
        assert gone(stopped)
    assert "Traceback" not in log.read_text()
    assert client.models.list().data


def every_router_replica_learns_of_a_registration(cluster):
    """Requests on connections of their own go to either replica; soon none of them knows less."""
    assert len(cluster.named(":router")) == 2
    coach = str(EXAMPLES / "salary-coach" / "adapter")
    for name in ("acme/passing", "acme/coach"):
        registered = cluster.command("specialists", "register", name, coach, "--json")
        assert registered.returncode == 0, registered.stderr
    body = {"input": "They offered me 58k but I was hoping for 65k."}
    deadline, agreed = time.monotonic() + HANGS, 0
    while agreed < 20:
        with cluster.http() as http:
            chosen = http.post("/v1/route", json=body).json()["specialist"]
        agreed = agreed + 1 if chosen == "acme/coach" else 0
        assert time.monotonic() < deadline


def a_lost_engine_replica_leaves_the_other_answering(cluster):
    lost, left = cluster.named(":engine")
    lost.kill()
    with cluster.openai() as client:
        for _ in range(6):
            answer = client.chat.completions.create(
                model="acme/coach", messages=MESSAGES, max_tokens=3, temperature=0
            )
            assert answer.model == "acme/coach"
    assert left.is_running()


def test_a_lost_engine_is_replaced_and_every_request_gets_an_answer(cluster, client):
    [engine] = cluster.named(":engine")
    stream = client.chat.completions.create(
        model="SmolLM2-135M-Instruct",
        messages=MESSAGES,
        stream=True,
        max_tokens=7000,
        logit_bias={"0": -100, "2": -100},
    )
    next(stream)
    engine.kill()
    with pytest.raises(openai.APIError, match=re.escape(ENGINE_LOST)):
        for _ in stream:
            pass
    deadline = time.monotonic() + HANGS
    with cluster.http() as http:
        while http.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    answer = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content


def test_the_commands_work_against_the_cluster(cluster):
    chat = cluster.command(
        "chat", "I was offered 40k but wanted 45k", "--max-tokens", "40", "--json"
    )
    assert chat.returncode == 0, chat.stderr
    assert "demo/salary-coach" in chat.stdout
    route = cluster.command("route", "my plant has brown leaves", "--json")
    assert json.loads(route.stdout)["specialist"] == "demo/captain-juniper"
    listed = cluster.command("specialists", "list", "--json")
    assert "demo/action-items" in listed.stdout
    shown = cluster.command("specialists", "show", "demo/action-items", "--json")
    assert json.loads(shown.stdout)["evaluation"]
    assert cluster.command("status").returncode == 0
    doctor = cluster.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    unknown = cluster.command("specialists", "show", "demo/action-item")
    assert unknown.returncode == 1
    assert "demo/action-items" in unknown.stderr
