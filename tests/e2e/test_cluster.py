"""Two engine replicas: each adapter has its place, and who loses its replica does not notice."""

import itertools
import select
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from clusters import free_port, furnish, running
from prometheus_client.parser import text_string_to_metric_families

from deploy.demos import EXAMPLES

MESSAGES = [{"role": "user", "content": "Say hello to everybody, one after the other."}]
SPECIALISTS = sorted(f"demo/{each.name}" for each in EXAMPLES.iterdir() if each.is_dir())


@pytest.fixture(scope="module")
def two_engines(prepared_home, tmp_path_factory):
    home = tmp_path_factory.mktemp("two")
    furnish(home, prepared_home)
    with running(home, free_port(), home / "up.log", MYRIAD_ENGINE__REPLICAS="2") as cluster:
        yield cluster


def residents(cluster):
    with cluster.http() as http:
        families = text_string_to_metric_families(http.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return sum(each.value for each in samples if each.name == "myriad_engine_adapters_resident")


def test_an_adapter_is_resident_where_it_is_asked_for_and_nowhere_else(two_engines):
    with two_engines.openai() as client:
        for specialist in SPECIALISTS * 4:
            client.chat.completions.create(model=specialist, messages=MESSAGES, max_tokens=2)
    assert residents(two_engines) == len(SPECIALISTS) == 6


def test_who_has_not_begun_to_read_does_not_notice_that_engines_are_killed(two_engines):
    """Engines are killed four times, one after the other, while twelve clients ask 60 requests."""
    answered, kills, done = threading.Semaphore(0), itertools.count(1), 0

    def ask(number):
        with two_engines.openai() as client:
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
            two_engines.named(":engine")[0].kill()
        assert all(each.result() is not None for each in asked)
    assert done == 40
    # What Ray says of it is in its logs: whoever reads one line of ours is not written to for ever.
    assert select.select([two_engines.process.stdout], [], [], 0)[0] == []
