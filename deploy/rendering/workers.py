"""The groups of pods that route, answer and train, and how much each of their pods gets."""

import json
from math import ceil

from deploy.rendering.base import weights_mib
from deploy.rendering.files import Manifest, Target
from deploy.rendering.pods import pod

GIB = 1024
ROUTER_CPUS, ROUTER_MIB = 2, 4 * GIB
ENGINE_CPUS, ENGINE_SPARE_MIB = 4, 4 * GIB
TRAINER_CPUS, TRAINER_SPARE_MIB = 4, 4 * GIB


def workers(target: Target) -> list[Manifest]:
    """All groups.

    Raises:
        InvalidSetting: nobody knows how much memory the base takes.
    """
    return [_routers(target), _engines(target), *_trainers(target)]


def _routers(target: Target) -> Manifest:
    count = target.settings.router.replicas
    return {
        "groupName": "routers",
        "replicas": count,
        "minReplicas": count,
        "maxReplicas": count,
        "rayStartParams": {"num-cpus": "1"},
        "template": pod(target, "router", ROUTER_CPUS, ROUTER_MIB),
    }


def _engines(target: Target) -> Manifest:
    engine = target.settings.engine
    memory = ENGINE_SPARE_MIB + sum(engine.whole_caches.values()) + _weights_mib(target)
    gpus = ceil(engine.reserved_gpus)  # a pod has whole ones
    return {
        "groupName": "gpu-engines" if gpus else "cpu-engines",
        "replicas": engine.replicas,
        "minReplicas": engine.replicas,
        "maxReplicas": engine.most_replicas,
        "rayStartParams": {},
        "template": pod(target, "engine", engine.cpus + 1, memory, gpus),
    }


def _trainers(target: Target) -> list[Manifest]:
    """Where jobs are trained, on CPUs: what one takes must not be missing to who answers."""
    training = target.settings.training
    if training.resource is None or training.gpus:
        return []
    count = training.jobs
    least = 0 if target.settings.engine.max_replicas else count  # where pods come when wanted
    memory = TRAINER_SPARE_MIB + 2 * _files_mib(target)  # in float32
    resources = json.dumps({training.resource: 1})
    group = {
        "groupName": "trainers",
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": count,
        "rayStartParams": {"num-cpus": "0", "resources": json.dumps(resources)},
        "template": pod(target, "trainer", training.threads or TRAINER_CPUS, memory),
    }
    return [group]


def _weights_mib(target: Target) -> int:
    """What the base takes in an engine: its files are of 16 bits, and so are all kinds but one."""
    mib = _files_mib(target)
    return 2 * mib if target.settings.engine.weights == "float32" else mib


def _files_mib(target: Target) -> int:
    base, gib = target.settings.base, target.base_gib
    return weights_mib(base) if gib is None else int(gib * GIB)
