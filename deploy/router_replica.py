"""The router on Ray Serve: the HTTP API in front of the engine replicas."""

import tempfile
from functools import partial
from typing import Any

from ray import serve

from deploy import trainer_task
from deploy.direct import directly
from deploy.dispatcher import Dispatcher
from deploy.encoder import open_encoder
from deploy.entrance import Entrance
from deploy.home import default_sampling, open_registry
from deploy.nearby import ROUTERS, sockets
from deploy.peers import Peers
from deploy.remote_engine import RemoteEngine
from deploy.replica import replica_name, settled
from deploy.settings import Settings
from deploy.telemetry import observe
from registry.leftovers import forget_leftovers
from registry.private import private_folder
from registry.registry import Registry
from router.api.access import ANY, AccessRules
from router.api.app import create_app
from router.batches.worker import BatchWorker
from router.loopback import is_loopback
from router.service import Service
from specialists.base import Base, locate_base

FIRST_ROUTES_SECONDS = 30.0


@serve.ingress()
class RouterReplica:
    """One router: its own snapshot, its own encoder, a handle to the engines."""

    async def __init__(self, settings: Settings, engine: Any) -> None:  # type: ignore[misc]
        settings = settings.with_secrets
        observe(settings, replica_name())
        # Uploads lie here while they are read: not in a shared folder, nor in one in memory.
        incoming = private_folder(settings.home / "incoming")
        forget_leftovers(incoming, "*")
        tempfile.tempdir = str(incoming)
        base = locate_base(settings.base, settings.home)
        self._registry = open_registry(settings, base)
        self._service = _service(settings, self._registry, base, engine)
        # Serve sends requests to a replica as soon as this returns: one beside others had better
        # know its routes by then. One that has thousands to encode says so at /readyz meanwhile.
        await self._service.start(patience=FIRST_ROUTES_SECONDS)
        self._dispatcher = Dispatcher(
            self._registry.queue, partial(trainer_task.start, settings), settings.training.jobs
        )
        self._dispatcher.start()
        # The front gives every request an id and puts it on the response.
        access = _access_rules(settings)
        self._app = create_app(self._service, access=access, names_requests=False)
        self._batches = BatchWorker(self._service, self._app)
        self._batches.start()
        self._entrance = Entrance(directly(self._app), sockets(ROUTERS) / replica_name())
        await self._entrance.open()
        settled()

    async def exposition(self) -> tuple[str, bytes]:
        """This replica's name, and its figures."""
        return replica_name(), self._service.exposition()

    def __serve_build_asgi_app__(self) -> Any:
        """Serve asks for the application once the constructor is done."""
        return self._app

    async def __del__(self) -> None:
        """Serve's hook for the end of a replica."""
        if hasattr(self, "_batches"):
            await self._batches.stop()
        if hasattr(self, "_entrance"):
            await self._entrance.close()
        if hasattr(self, "_dispatcher"):
            self._dispatcher.stop()
        if hasattr(self, "_service"):
            await self._service.stop()
            self._registry.close()


def _access_rules(settings: Settings) -> AccessRules:
    """Where a key is needed a page that calls us by another name can do nothing."""
    anywhere = () if is_loopback(settings.host) else (ANY,)
    return AccessRules(settings.allowed_hosts or anywhere, settings.allowed_origins)


def _service(settings: Settings, registry: Registry, base: Base, engine: Any) -> Service:
    answering = RemoteEngine(
        engine,
        places=settings.engine.places,
        replicas=settings.engine.replicas,
        deadline=settings.router.deadline_seconds,
    )
    return Service(
        registry,
        answering,
        open_encoder(settings.router.threads, settings.router.encoder),
        base.name,
        sampling=default_sampling(settings, base),
        interval=settings.router.poll_seconds,
        cache=settings.home / "cache",
        opens=is_loopback(settings.host),
        replicas=settings.router.replicas,
        peers=Peers(_own_deployment()),
        teachers=tuple(settings.teachers or ()),
        background=_background(settings),
    )


def _background(settings: Settings) -> int:
    """This router's share of half of what the engines compute at once."""
    rows = settings.engine.max_rows * settings.engine.replicas // 2
    return max(1, rows // settings.router.replicas)


def _own_deployment() -> Any:
    context = serve.get_replica_context()
    return serve.get_deployment_handle(context.deployment, context.app_name)
