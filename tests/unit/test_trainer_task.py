"""Where trainers run: what a task reserves, and what is said where no node has it."""

import pytest

from deploy import trainer_task
from deploy.settings import Settings, TrainingSettings


class Ray:
    """As much of Ray as starts a task."""

    def __init__(self, **resources: float) -> None:
        self.resources = resources
        self.reserved: dict[str, object] = {}

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, *asked: object, **reserved: object):
        """Of Ray, what makes a task of a function; of the task, what starts it."""
        if asked:
            return "running"
        self.reserved = reserved
        return lambda _: self


@pytest.mark.parametrize(
    ("training", "reserved"),
    [
        ({}, {"num_cpus": trainer_task.CPUS, "num_gpus": 0}),
        ({"gpus": 0.5}, {"num_cpus": trainer_task.CPUS, "num_gpus": 0.5}),
        ({"resource": "trainer"}, {"num_cpus": 0, "num_gpus": 0, "resources": {"trainer": 1}}),
    ],
)
def test_what_is_reserved(monkeypatch, caplog, training, reserved):
    ray = Ray(trainer=1.0)
    monkeypatch.setattr(trainer_task, "ray", ray)
    settings = Settings(training=TrainingSettings(**training))
    assert trainer_task.start(settings, "trainer-1") == "running"
    assert {name: ray.reserved[name] for name in reserved} == reserved
    assert not caplog.messages


def test_that_no_node_has_what_is_reserved_is_said(monkeypatch, caplog):
    monkeypatch.setattr(trainer_task, "ray", Ray(CPU=2.0))
    trainer_task.start(Settings(training=TrainingSettings(resource="trainer")), "trainer-1")
    assert "no node has the resource 'trainer'" in caplog.text
