"""The Serve composition: router replicas in front of engine replicas."""

import logging
from typing import Any

from ray import serve

from deploy.engine_replica import EngineReplica
from deploy.router_replica import RouterReplica
from deploy.settings import Settings

APPLICATION = "myriad"


def build(settings: Settings) -> Any:
    """The application; admission is the engine's own, so Serve lets everything through to it."""
    gpus = 1 if settings.engine.device.startswith("cuda") else 0
    engine = serve.deployment(EngineReplica).options(
        name="engine",
        num_replicas=settings.engine.replicas,
        max_ongoing_requests=4 * (settings.engine.max_rows + settings.engine.max_waiting),
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
    )
    router = serve.deployment(RouterReplica).options(
        name="router",
        num_replicas=settings.router.replicas,
        max_ongoing_requests=1024,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
    )
    return router.bind(settings, engine.bind(settings))


def run(settings: Settings) -> None:
    """Start Serve's proxy and the application; returns when all replicas are there.

    Raises:
        RuntimeError: a replica did not start.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.port}
    )
    serve.run(build(settings), name=APPLICATION, route_prefix="/")


def stop() -> None:
    """Take no more requests, and let those in flight end within the grace period."""
    serve.delete(APPLICATION)
