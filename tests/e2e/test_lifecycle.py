"""Starting, stopping and killing: nothing lost, nothing left running."""

import json
import os
import re
import signal
import time
from pathlib import Path

import openai
import psutil
import pytest
from clusters import command_of, free_port, furnish, running
from patience import HANGS

from deploy.ray_cluster import UNASKED, session_folder
from deploy.remote_engine import ENGINE_LOST
from registry.private import OTHERS

MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def second_home(prepared_home, tmp_path):
    furnish(tmp_path, prepared_home)
    return tmp_path


def test_no_process_runs_that_nobody_asks_anything(cluster):
    scripts = {Path(word).name for each in cluster.family() for word in command_of(each)}
    assert "gcs_server" in scripts
    assert not scripts & {f"{name}.py" for name in UNASKED}


def test_nobody_else_reaches_what_the_cluster_keeps(cluster):
    """In a home that others may enter, too: Ray makes its own folders everybody's."""
    sessions = session_folder(cluster.home)
    assert (sessions / "session_latest" / "sockets").is_dir()
    closed = [cluster.home / name for name in ("blobs", "cache", "registry.db")]
    assert not [each for each in (sessions.parent, *closed) if each.stat().st_mode & OTHERS]


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


def test_where_everything_is_told_to_end_nobody_waits_for_what_is_gone(second_home, tmp_path):
    """As supervisors tell all processes of a group: Ray's own, too."""
    log = tmp_path / "log"
    with running(second_home, free_port(), log, MYRIAD_DEMOS="false") as made:
        os.killpg(made.process.pid, signal.SIGTERM)
        assert made.process.wait(HANGS) == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "Failed to connect" not in said


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
