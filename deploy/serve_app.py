"""The Serve composition: router replicas in front of engine replicas."""

import logging
from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import ApplicationStatus

from deploy.affinity_router import REPORT_SECONDS, AffinityRouter
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
        max_ongoing_requests=4 * settings.engine.places,
        request_router_config=RequestRouterConfig(
            request_router_class=AffinityRouter, request_routing_stats_period_s=REPORT_SECONDS
        ),
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


def start(settings: Settings) -> None:
    """Begin to start Serve's proxy and the application; `failure` and /readyz tell the rest."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.port}
    )
    serve.run_many(
        [serve.RunTarget(build(settings), name=APPLICATION, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def failure() -> str | None:
    """Why the application will not start; None while it may."""
    application = serve.status().applications.get(APPLICATION)
    if application is None or application.status != ApplicationStatus.DEPLOY_FAILED:
        return None
    return str(application.message)


def stop() -> None:
    """Take no more requests, and let those in flight end within the grace period."""
    serve.delete(APPLICATION)
