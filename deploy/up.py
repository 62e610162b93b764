"""`myriad up`: from settings to a cluster that answers, until it is told to stop."""

import json
import logging
import shutil
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, TextIO

import httpx
from rich.console import Console
from rich.text import Text

from deploy.claims import only_one, require_port
from deploy.daemons import daemons, needed
from deploy.demos import register_demos
from deploy.encoder import encoder_folder
from deploy.errors import InvalidSetting, StartFailed
from deploy.home import open_registry, opened_keys
from deploy.patience import Patience
from deploy.progress import told
from deploy.ray_cluster import ray_cluster, session_folder
from deploy.settings import Settings
from deploy.stop_signal import StopSignal
from registry.collection import collect
from registry.errors import StorageError
from registry.private import make_home
from router.loopback import is_loopback
from specialists.base import EMBEDDED, Base, prepare_base
from specialists.engine.native.compile import kernels
from specialists.engine.vllm.process import installed
from specialists.errors import NoKernels

logger = logging.getLogger(__name__)

TIDY_SECONDS = 86_400.0
STILL_SECONDS = 600.0
"""A start that shows no progress for so long has failed; one that does may take its time."""


def run_up(settings: Settings, console: Console, *, as_json: bool) -> None:
    """Start everything, say where it listens, and serve until SIGINT or SIGTERM.

    Raises:
        InvalidSetting: others than this machine could reach it, and no API key was made; there are
            fewer GPUs than are asked for; or the encoder cannot be read.
        AlreadyRunning: this home is served already.
        PortTaken: something else listens on the port.
        StartFailed: the cluster did not become ready.
        BaseUnavailable: the base's weights cannot be had.
        NoVllm: it is to compute, and is not where it is looked for.
    """
    started, results = time.monotonic(), sys.stdout
    stop = StopSignal()
    with stop.caught(), only_one(settings.home):
        _require_keys(settings)
        require_port(settings.host, settings.port)
        base = prepare(settings, console)
        _seed(settings, base, console)
        if stop.is_set():
            return
        console.print("Starting the cluster …", style="dim")
        # Ray puts its own handler in the place of ours when it starts.
        with ray_cluster(settings.home, _cpus(settings), _resources(settings)), stop.caught():
            known = daemons()
            _require_gpus(settings)
            _serve(settings, stop, console)
            if not stop.is_set():
                seconds = time.monotonic() - started
                _announce(settings, base, console, seconds, results if as_json else None)
                tidy = Thread(target=_tidy, args=(settings, stop), name="gc", daemon=True)
                tidy.start()
            stop.wait()
            console.print("Stopping …", style="dim")
            with needed(known):
                _drain()


def prepare(settings: Settings, console: Console) -> Base:
    """The base, unpacked first when that was not done yet; the encoder is looked for before."""
    make_home(settings.home)
    with told(console) as tell:
        encoder_folder(settings.router.encoder, tell)
        base = prepare_base(settings.base, settings.home, tell)
        if settings.engine.kind == "vllm":
            installed(settings.engine.vllm.interpreter)
        if settings.engine.wants_kernels:
            # Where there are none torch computes; the engine and `doctor` say so.
            with suppress(NoKernels):
                kernels(lambda: tell("Compiling the engine's kernels", 0, 1))
        return base


def _cpus(settings: Settings) -> int:
    """CPUs that all replicas reserve; the routers' shares are one together."""
    return settings.engine.cpus * settings.engine.most_replicas + 1


def _resources(settings: Settings) -> dict[str, float]:
    """What trainers look for a node by: here there is one for all."""
    training = settings.training
    return {training.resource: training.jobs} if training.resource else {}


def _require_keys(settings: Settings) -> None:
    if is_loopback(settings.host):
        return
    with opened_keys(settings.location) as keys:
        if not keys.any():
            raise InvalidSetting(
                f"MYRIAD_HOST={settings.host} is refused: everybody could use the server. Make an "
                "API key first (`myriad keys create`), or unset it"
            )


def _require_gpus(settings: Settings) -> None:
    """Refuse what would wait for ever: Ray starts nobody before there is what they reserve."""
    import ray

    wanted, found = settings.gpus, ray.cluster_resources().get("GPU", 0)
    if found < wanted:
        raise InvalidSetting(
            f"MYRIAD_ENGINE__DEVICE={settings.engine.device} and MYRIAD_TRAINING__GPUS ask for "
            f"{wanted:g} GPUs, and {found:g} are here: see `myriad doctor`"
        )


def _seed(settings: Settings, base: Base, console: Console) -> None:
    registry = open_registry(settings, base)
    try:
        if settings.demos and base.name == EMBEDDED:
            for specialist in register_demos(registry, settings.home):
                console.print(f"Registered {specialist}", style="dim")
    finally:
        registry.close()


def _serve(settings: Settings, stop: StopSignal, console: Console) -> None:
    from deploy import serve_app

    serve_app.start(settings)
    patience = Patience(STILL_SECONDS)
    with httpx.Client(trust_env=False) as http, told(console) as tell:
        while not stop.wait(0.1):
            ready, stage = _stage(http, settings)
            if ready:
                return
            if reading := stage.get("reading"):
                tell("Reading specialists", reading["done"], reading["of"])
            reason = serve_app.failure()
            if patience.is_over(json.dumps(stage)):
                reason = (
                    reason or f"nothing moved for {STILL_SECONDS:.0f} s: {stage or 'no answer'}"
                )
            if reason is not None:
                logs = session_folder(settings.home) / "session_latest" / "logs" / "serve"
                raise StartFailed(f"the cluster did not start: {reason}\nIts logs are in {logs}")


def _stage(http: httpx.Client, settings: Settings) -> tuple[bool, dict[str, Any]]:
    """Whether requests are taken, and what the server says of its start; nothing at first."""
    try:
        response = http.get(f"{settings.server_url}/readyz")
        return response.is_success, response.json()
    except (httpx.TransportError, ValueError):
        return False, {}


def _announce(
    settings: Settings, base: Base, console: Console, seconds: float, results: TextIO | None
) -> None:
    """Say that it is ready, to people or, with somewhere for results, to programs."""
    url = settings.server_url
    if results is not None:
        event = {"event": "ready", "url": url, "base": base.name, "seconds": round(seconds, 1)}
        print(json.dumps(event), flush=True, file=results)
        return
    console.print(_ready(url, seconds), soft_wrap=True)


def _ready(url: str, seconds: float) -> Text:
    """The line that people read; its styles are dropped where there is no terminal."""
    return Text.assemble(
        ("Ready", "bold green"),
        f" in {seconds:.0f} s at ",
        (url, "bold"),
        f" (OpenAI base URL: {url}/v1). Open it in a browser, or try: ",
        (f'{_called()} chat "I was offered 62k but hoped for 70k"', "cyan"),
    )


def _called() -> str:
    """The command, as it can be typed where this one was."""
    command = Path(sys.executable).with_name("myriad")
    if shutil.which("myriad") == str(command):
        return "myriad"
    here = Path.cwd()
    return str(command.relative_to(here) if command.is_relative_to(here) else command)


def _tidy(settings: Settings, stop: StopSignal) -> None:
    """Collect the registry's garbage, now and every day."""
    while not stop.is_set():
        try:
            collect(settings.location, timedelta(days=settings.retention_days))
        except StorageError as error:
            logger.warning("garbage is collected later: %s", error)
        stop.wait(TIDY_SECONDS)


def _drain() -> None:
    from deploy import serve_app

    serve_app.stop()
