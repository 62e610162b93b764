"""The rendered application on a cluster of several nodes, one of which is lost; so is its state."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import openai
import postgres
import psutil
import pytest
import yaml
from clusters import free_port, furnish
from patience import HANGS, until
from test_api import upload
from test_cluster import MESSAGES
from test_training import rows

from deploy.demos import EXAMPLES, register_demos
from deploy.home import open_registry
from deploy.ray_cluster import cluster_environment
from deploy.settings import read_settings
from specialists.base import EMBEDDED, locate_base

ROOT = Path(__file__).resolve().parents[2]
REDIS = Path("/usr/bin/redis-server")
pytestmark = [
    pytest.mark.skipif(not postgres.is_installed(), reason="no PostgreSQL is installed"),
    pytest.mark.skipif(not REDIS.exists(), reason="no Redis is installed"),
]


@contextmanager
def ended(command, **options):
    """A process, and at the end neither it nor any that it has started.

    They are killed: a cluster whose state was killed before takes a minute to end by itself.
    """
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()


@pytest.fixture(scope="module")
def database():
    with postgres.controlled() as server:
        yield server


@pytest.fixture(scope="module")
def environment(prepared_home, database, tmp_path_factory):
    """What every part of the cluster is started with."""
    home, store = tmp_path_factory.mktemp("nodes"), tmp_path_factory.mktemp("store")
    furnish(home, prepared_home)
    redis, port = free_port(), free_port()
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        own = {
            "MYRIAD_HOME": str(home),
            "MYRIAD_PORT": str(port),
            "MYRIAD_DATABASE": database.url,
            "MYRIAD_FILES": store.as_uri(),
            "MYRIAD_ENGINE__REPLICAS": "2",
            "MYRIAD_ROUTER__REPLICAS": "2",
            "MYRIAD_TRAINING__RESOURCE": "trainer",
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{redis}",
            "RAY_external_storage_namespace": "nodes",
            "RAY_TMPDIR": short,
            "PYTHONPATH": str(ROOT),
        }
        yield os.environ | cluster_environment(home) | own


@pytest.fixture(scope="module")
def registered(environment):
    """The demos, in the registry that all nodes share."""
    settings = read_settings(
        home=environment["MYRIAD_HOME"],
        database=environment["MYRIAD_DATABASE"],
        files=environment["MYRIAD_FILES"],
    )
    registry = open_registry(settings, locate_base(EMBEDDED, settings.home))
    register_demos(registry, settings.home)
    registry.close()


@pytest.fixture(scope="module")
def nodes(environment, registered, tmp_path_factory):
    """Head, state, and two workers; yields what carries out a command."""
    folder = tmp_path_factory.mktemp("redis")
    port = environment["RAY_REDIS_ADDRESS"].rpartition(":")[2]
    redis = [str(REDIS), "--port", port, "--bind", "127.0.0.1", "--dir", str(folder)]
    script = [sys.executable, str(Path(__file__).with_name("nodes.py")), "2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
    with ended(redis, stdout=subprocess.DEVNULL), ended(script, **pipes) as cluster:
        address = cluster.stdout.readline().strip()
        assert address, "the cluster did not start"

        def do(command):
            cluster.stdin.write(f"{command}\n")
            cluster.stdin.flush()
            assert cluster.stdout.readline() == "done\n"

        do.address, do.pid = address, cluster.pid
        yield do


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Where the application's config lies."""
    return tmp_path_factory.mktemp("rendered") / "serve.yaml"


@pytest.fixture(scope="module")
def url(nodes, environment, config):
    """The application, as `myriad deploy render serve` writes it and `serve run` runs it."""
    out = config.parent
    render = [sys.executable, "-m", "deploy.cli", "deploy", "render", "serve", "--out", str(out)]
    subprocess.run(render, env=environment, check=True, capture_output=True)
    rendered = yaml.safe_load(config.read_text())
    # All nodes are on this machine, which has each port once.
    rendered["proxy_location"] = "HeadOnly"
    config.write_text(yaml.safe_dump(rendered))
    run = [str(Path(sys.executable).with_name("serve")), "run", str(config)]
    with (out / "log").open("wb") as log:
        options = {"env": environment, "stdout": log, "stderr": log}
        with ended([*run, "--address", nodes.address], **options) as process:
            base = f"http://127.0.0.1:{environment['MYRIAD_PORT']}"
            ready(base, process)
            yield base


def ready(url, process=None):
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, "it has ended"
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError("it does not get ready")


def ask(url, asked):
    """Ask a specialist, or the demo of that number."""
    specialists = sorted(f"demo/{each.name}" for each in EXAMPLES.iterdir() if each.is_dir())
    model = specialists[asked % len(specialists)] if isinstance(asked, int) else asked
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=HANGS) as client:
        answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=16)
    return answer.choices[0].message.content


def replicas(url):
    """The names of all that answer."""
    figures = httpx.get(f"{url}/metrics", trust_env=False, timeout=HANGS).text
    return set(re.findall(r'replica="(\w+)"', figures))


@contextmanager
def killed(database):
    """It is started again at the end."""
    database.kill()
    try:
        yield
    finally:
        database.start()


def test_what_is_rendered_answers_on_several_nodes_and_outlives_one_of_them(nodes, url):
    assert ask(url, 0) is not None
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, url, number) for number in range(24)]
        asked[2].result()
        nodes("kill worker")
        assert all(each.result() is not None for each in asked)
    nodes("add worker")


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x", timeout=HANGS) as client:
        yield client


def small_job(client):
    """The id of a job that is begun when somebody can be."""
    data = "".join(json.dumps(row) + "\n" for row in rows("When is high tide at {}?")).encode()
    file = client.files.create(file=("tides.jsonl", data), purpose="fine-tune").id
    jobs = client.fine_tuning.jobs
    return jobs.create(model=EMBEDDED, training_file=file, hyperparameters={"n_epochs": 1}).id


def test_who_trains_does_so_on_nodes_for_it_alone(nodes, client):
    jobs, job = client.fine_tuning.jobs, small_job(client)
    nodes("add trainer")
    until(lambda: raylets_of_trainers(nodes.pid))
    assert all("trainer,1" in raylet for raylet in raylets_of_trainers(nodes.pid))
    until(lambda: jobs.retrieve(job).finished_at)
    assert jobs.retrieve(job).status == "succeeded"


def raylets_of_trainers(cluster):
    """The command lines of the nodes that trainers run on."""
    found = []
    for each in psutil.Process(cluster).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(each.cmdline()).startswith("ray::train"):
                found.append(" ".join(each.parent().cmdline()))
    return found


def test_answers_go_on_without_the_clusters_state_and_it_comes_back(nodes, url, client):
    # Who was lost before is replaced, and that takes the cluster's state.
    until(lambda: len(replicas(url)) == 4)
    with ThreadPoolExecutor(4) as pool:
        nodes("kill state")
        # Nobody can be started to train it before the state is back.
        job = small_job(client)
        asked = [pool.submit(ask, url, number) for number in range(16)]
        assert all(each.result() is not None for each in asked)
        nodes("start state")
    ready(url)
    assert ask(url, 3) is not None
    until(lambda: client.fine_tuning.jobs.retrieve(job).status != "queued")
    client.fine_tuning.jobs.cancel(job)


@pytest.mark.parametrize("lost", [killed, postgres.Server.frozen])
def test_answers_go_on_without_the_database_and_writes_are_refused_until_it_is_back(
    nodes, url, database, lost
):
    cold, late = f"acme/cold-{lost.__name__}", f"acme/late-{lost.__name__}"
    # Routers and engines that were lost before are replaced: of these nobody asked anything yet.
    until(lambda: len(replicas(url)) == 4)
    with httpx.Client(base_url=url, trust_env=False, timeout=HANGS) as http:
        assert upload(http, cold).status_code == 201
        until(lambda: known_to_every_router(http, cold))
        with lost(database):
            for _ in range(4):
                assert ask(url, 0) is not None
            # Its adapter is in no engine's memory yet.
            assert ask(url, cold) is not None
            chosen = http.post("/v1/route", json={"input": "They offered 58k, I hoped for 65k."})
            assert chosen.json()["specialist"] == "demo/salary-coach"
            refused = upload(http, late)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                503,
                "storage_unavailable",
            )
        until(lambda: upload(http, late).status_code in (200, 201))
        until(lambda: known_to_every_router(http, late))


def known_to_every_router(http, name):
    """Requests go to either."""
    return all(http.get(f"/v1/models/{name}").status_code == 200 for _ in range(10))


def test_settings_are_rolled_out_and_no_request_fails(nodes, url, config):
    deadline = time.monotonic() + HANGS
    # What was lost before is replaced first.
    while len(before := replicas(url)) < 4:
        assert time.monotonic() < deadline, before
    asked = []
    changed = yaml.safe_load(config.read_text())
    changed["applications"][0]["args"]["engine"]["max_waiting"] = 128
    config.write_text(yaml.safe_dump(changed))
    with ThreadPoolExecutor(4) as pool:
        nodes(f"deploy {config}")
        while len(now := replicas(url)) < 4 or now & before:
            asked += [pool.submit(ask, url, len(asked) + number) for number in range(4)]
            # No faster than they are answered.
            assert asked[-1].result() is not None
            assert time.monotonic() < deadline, (before, now)
        assert all(each.result() is not None for each in asked)
    assert len(asked) > 8
