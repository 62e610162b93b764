"""The Serve composition: router replicas in front of engine replicas."""

import logging
import time
from contextlib import suppress
from typing import Any

from ray import serve
from ray.exceptions import ActorDiedError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig
from ray.serve.schema import ApplicationStatus

from deploy import scaling
from deploy.affinity_router import REPORT_SECONDS, AffinityRouter
from deploy.engine_replica import EngineReplica
from deploy.errors import InvalidSetting
from deploy.router_replica import RouterReplica
from deploy.settings import SECRETS, EngineSettings, Settings, read_settings

APPLICATION = "myriad"
ROUTER_CPUS = 0.01
WAIT_SECONDS = 0.5
"""For so long a replica that ends waits for what is on its way, and then looks again."""


def build(settings: Settings) -> Any:
    """The application; admission is the engine's own, so Serve lets everything through to it."""
    engine = serve.deployment(EngineReplica).options(
        name="engine",
        **_scale(settings.engine),
        max_ongoing_requests=4 * settings.engine.places,
        request_router_config=RequestRouterConfig(
            request_router_class=AffinityRouter, request_routing_stats_period_s=REPORT_SECONDS
        ),
        ray_actor_options={
            "num_cpus": settings.engine.cpus,
            "num_gpus": settings.engine.reserved_gpus,
        },
        **_lifetime(settings),
    )
    router = serve.deployment(RouterReplica).options(
        name="router",
        num_replicas=settings.router.replicas,
        max_ongoing_requests=1024,
        # Not nothing: a cluster's head has no CPUs, and is to stay without work.
        ray_actor_options={"num_cpus": ROUTER_CPUS},
        **_lifetime(settings),
    )
    kept = settings.without_secrets
    return router.bind(kept, engine.bind(kept))


def application(args: dict[str, Any]) -> Any:
    """The application for `serve deploy`: settings from the environment, and over them `args`.

    Raises:
        InvalidSetting: a value cannot be used, or is one that such a config would give away.
    """
    if told := [f"MYRIAD_{name.upper()}" for name in SECRETS if name in args]:
        raise InvalidSetting(f"{', '.join(told)} belongs into the environment of every node")
    return build(read_settings(**args))


def _lifetime(settings: Settings) -> dict[str, float]:
    return {
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "graceful_shutdown_wait_loop_s": WAIT_SECONDS,
        "health_check_period_s": 5,
    }


def _scale(settings: EngineSettings) -> dict[str, Any]:
    if settings.max_replicas is None:
        return {"num_replicas": settings.replicas}
    policy = AutoscalingPolicy(policy_function=scaling.replicas)
    config = AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        policy=policy,
        upscale_delay_s=scaling.UP_SECONDS,
        downscale_delay_s=scaling.DOWN_SECONDS,
        look_back_period_s=scaling.LOOK_BACK_SECONDS,
    )
    return {"autoscaling_config": config}


def start(settings: Settings) -> None:
    """Begin to start Serve's proxy and the application; `failure` and /readyz tell the rest."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    # Serve waits a minute for its proxy. The controller, and who asks /readyz, are more patient.
    with suppress(TimeoutError, ActorDiedError):
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
    # Not to be waited for there: Serve looks once a second, and for a minute at most.
    serve.delete(APPLICATION, _blocking=False)
    while APPLICATION in serve.status().applications:
        time.sleep(0.05)
