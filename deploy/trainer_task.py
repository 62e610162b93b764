"""Training as a Ray task: a process that does one job after the other, behind everything else."""

import logging
import os
from contextlib import closing
from typing import Any

import ray

from deploy.home import open_registry
from deploy.quiet import quiet
from deploy.settings import Settings, TrainingSettings
from deploy.telemetry import observe
from specialists.base import locate_base
from specialists.machine import cores

logger = logging.getLogger(__name__)

CPUS = 0.1
"""What a trainer reserves. Not nothing: a cluster's head has no CPUs, to stay without work."""


def train(settings: Settings, holder: str) -> None:
    """Do jobs until there is none left."""
    if not settings.training.gpus:
        # Whoever computes takes what GPU it sees.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from specialists.training.trainer import Trainer

    torch.set_num_threads(settings.training.threads or cores())
    settings = settings.with_secrets
    observe(settings, holder)
    base = locate_base(settings.base, settings.home)
    with quiet(), closing(open_registry(settings, base)) as registry:
        teachers = {name: each.address for name, each in (settings.teachers or {}).items()}
        most = settings.training.jobs
        trainer = Trainer(registry, base, holder, most, behind_everything, teachers)
        while trainer.work():
            pass


def behind_everything() -> None:
    """Let a thread, and all that it starts, run only where nobody else wants to.

    Niceness alone does not do: a core that is lent for a few milliseconds holds up a step of the
    engine that the other cores have done their part of. Measured beside one stream on two cores, a
    trainer of niceness 19 left it a third of its speed, an idle one two thirds.
    """
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def start(settings: Settings, holder: str) -> Any:
    """Begin to train somewhere in the cluster; what is returned can be awaited.

    Where the cluster's state is away it is waited for.
    """
    named = settings.training.resource
    if named is not None and named not in ray.cluster_resources():
        logger.warning(
            "no node has the resource %r that MYRIAD_TRAINING__RESOURCE names; jobs wait for one",
            named,
        )
    # One that is killed is started again, and goes on with the job that it held; one that is done
    # gives its memory back.
    task: Any = ray.remote(**_reserved(settings.training), max_retries=-1, max_calls=1)(train)
    return task.remote(settings.without_secrets, holder)


def _reserved(training: TrainingSettings) -> dict[str, Any]:
    if training.resource is None:
        return {"num_cpus": CPUS, "num_gpus": training.gpus}
    # Such nodes may have no CPUs, so that nobody else is put there.
    return {"num_cpus": 0, "num_gpus": training.gpus, "resources": {training.resource: 1}}
