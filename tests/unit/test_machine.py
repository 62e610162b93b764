"""What a process may use: of its machine, or of the container that it is in."""

from types import SimpleNamespace

import pytest

from deploy import backend
from deploy.settings import EngineSettings
from specialists import machine

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def groups(monkeypatch, tmp_path):
    """A machine of 64 cores and 64 GiB, whose control group bounds nothing yet."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    total = SimpleNamespace(total=64 * GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: total)
    for version_1 in "cpu", "memory":
        (tmp_path / version_1).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)],
)
def test_a_containers_quota_bounds_the_cores(groups, quota, cores):
    (groups / "cpu.max").write_text(quota)
    assert machine.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 64)])
def test_so_does_one_of_an_older_kernel(groups, quota, cores):
    (groups / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert machine.cores() == cores


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(
    ("limit", "memory"), [(2 * GIB, 2 * GIB), ("max", 64 * GIB), (1 << 62, 64 * GIB)]
)
def test_a_containers_limit_bounds_the_memory(groups, file, limit, memory):
    assert machine.memory() == 64 * GIB
    (groups / file).write_text(f"{limit}\n")
    assert machine.memory() == memory


@pytest.mark.parametrize(
    ("has", "settings", "caches"),
    [
        (64 * GIB, {}, (1024, 1024)),
        (4 * GIB, {}, (614, 614)),
        (4 * GIB, {"replicas": 2}, (307, 307)),
        (4 * GIB, {"max_replicas": 2}, (307, 307)),
        (4 * GIB, {"kv_mib": 900}, (900, 614)),
        (2 * GIB, {}, (102, 102)),
        (GIB, {}, (64, 64)),
        (GIB, {"device": "cuda"}, (1024, 1024)),
    ],
)
def test_caches_are_as_large_as_the_machine_has_room(groups, has, settings, caches):
    (groups / "memory.max").write_text(str(has))
    options = backend.engine_options(EngineSettings(**settings))
    assert (options.kv_bytes, options.slot_bytes) == tuple(mib * MIB for mib in caches)
