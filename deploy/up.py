"""`myriad up`: from settings to a cluster that answers, until it is told to stop."""

import json
import time

import httpx
from rich.console import Console

from deploy.claims import only_one, require_port
from deploy.demos import register_demos
from deploy.errors import StartFailed
from deploy.progress import told
from deploy.ray_cluster import ray_cluster, session_folder
from deploy.settings import Settings
from deploy.stop_signal import StopSignal
from registry.base import BaseSpec
from registry.catalogue import Registry
from specialists.base import EMBEDDED, Base, prepare_base

READY_SECONDS = 120.0


def run_up(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Start everything, say where it listens, and serve until SIGINT or SIGTERM.

    Raises:
        AlreadyRunning: this home is served already.
        PortTaken: something else listens on the port.
        StartFailed: the cluster did not become ready.
        BaseUnavailable: the base's weights cannot be had.
    """
    started = time.monotonic()
    stop = StopSignal()
    with stop.caught(), only_one(settings.home):
        require_port(settings.host, settings.port)
        base = prepare(settings, console)
        _seed(settings, base, console)
        if stop.is_set():
            return
        console.print("Starting the cluster …", style="dim")
        # Ray puts its own handler in the place of ours when it starts.
        with ray_cluster(settings.home, settings.engine.replicas), stop.caught():
            _serve(settings, stop)
            if not stop.is_set():
                _announce(settings, base, console, time.monotonic() - started, as_json=as_json)
            stop.wait()
            console.print("Stopping …", style="dim")
            _drain()


def prepare(settings: Settings, console: Console) -> Base:
    """The base, unpacked first when that was not done yet."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with told(console) as tell:
        return prepare_base(settings.base, settings.home, tell)


def _seed(settings: Settings, base: Base, console: Console) -> None:
    registry = Registry.open(settings.home, BaseSpec.from_folder(base.folder, base.name))
    try:
        if settings.demos and base.name == EMBEDDED:
            for specialist in register_demos(registry, settings.home):
                console.print(f"Registered {specialist}", style="dim")
    finally:
        registry.close()


def _serve(settings: Settings, stop: StopSignal) -> None:
    from deploy import serve_app

    serve_app.start(settings)
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False) as http:
        while not stop.wait(0.1) and not _is_ready(http, settings):
            reason = serve_app.failure()
            if time.monotonic() > deadline:
                reason = reason or f"it was not ready within {READY_SECONDS:.0f} s"
            if reason is not None:
                logs = session_folder(settings.home) / "session_latest" / "logs" / "serve"
                raise StartFailed(f"the cluster did not start: {reason}\nIts logs are in {logs}")


def _is_ready(http: httpx.Client, settings: Settings) -> bool:
    try:
        return http.get(f"{settings.server_url}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _announce(
    settings: Settings, base: Base, console: Console, seconds: float, *, as_json: bool
) -> None:
    url = settings.server_url
    if as_json:
        event = {"event": "ready", "url": url, "base": base.name, "seconds": round(seconds, 1)}
        print(json.dumps(event), flush=True)  # noqa: T201 (the command's output)
        return
    console.print(
        f"[bold green]Ready[/] in {seconds:.0f} s at [bold]{url}[/] (OpenAI base URL: {url}/v1). "
        'Try: [cyan].venv/bin/myriad chat "I was offered 62k but hoped for 70k"[/]',
        soft_wrap=True,
        highlight=False,
    )


def _drain() -> None:
    from deploy import serve_app

    serve_app.stop()
