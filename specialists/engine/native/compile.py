"""Compiles the kernels for this machine's processor, once."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from specialists.errors import NoKernels

HEADERS, SOURCES = (sorted(Path(__file__).parent.glob(pattern)) for pattern in ("*.h", "*.cpp"))
COMPILERS = ("g++", "clang++")
NEEDED = {"x86_64": ("avx2", "fma", "f16c"), "aarch64": ("asimd", "asimddp")}
"""Features, as Linux names them, of the processors that there are kernels for."""
# Of an Arm that it does not know a compiler does not use what it has.
PROCESSOR = "-march=armv8.2-a+dotprod" if platform.machine() == "aarch64" else "-march=native"
OPTIONS = ("-std=c++20", "-O3", PROCESSOR, "-shared", "-fPIC", "-pthread")
CPU_INFO = Path("/proc/cpuinfo")


def kernels(begins: Callable[[], object] = lambda: None) -> Path:
    """The library for this processor; the first call compiles it, into the user's cache folder.

    Args:
        begins: called before it is compiled, which takes a while.

    Raises:
        NoKernels: the processor lacks instructions, or there is no compiler that can do it.
    """
    if machine() not in NEEDED:
        raise NoKernels(f"there are none for {machine()} processors")
    missing = [name for name in NEEDED[machine()] if name not in processor().split()]
    if missing:
        raise NoKernels(f"the processor has no {', '.join(missing)}")
    found = compiler()
    target = user_cache_path("myriad") / "kernels" / f"step-{_key(found)}.so"
    if not target.is_file():
        begins()
        try:
            _compile(found, target)
        except OSError as error:
            raise NoKernels(f"{target} cannot be written: {error}") from error
    return target


def compiler() -> str:
    """The first one that is installed.

    Raises:
        NoKernels: there is none.
    """
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    if found is None:
        raise NoKernels(f"there is none of {', '.join(COMPILERS)}")
    return found


def machine() -> str:
    """The kind of processor."""
    return platform.machine()


@cache
def processor() -> str:
    """The processor's features, as Linux tells them; empty elsewhere."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return ""
    # As x86 and Arm call them.
    named = (line for line in lines if line.startswith(("flags", "Features")))
    return next((line.partition(":")[2] for line in named), "")


@cache
def _key(compiler: str) -> str:
    """What the library depends on: sources, options, compiler, processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout  # noqa: S603
    parts = [source.read_bytes() for source in [*HEADERS, *SOURCES]]
    parts += [version, " ".join(OPTIONS).encode(), machine().encode()]
    return hashlib.sha256(b"\0".join([*parts, processor().encode()])).hexdigest()[:16]


def _compile(compiler: str, target: Path) -> None:
    """Compile beside the target and rename: whoever looks finds all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".so")
    os.close(handle)
    command = [compiler, *OPTIONS, *map(str, SOURCES), "-o", draft]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        Path(draft).unlink()
        raise NoKernels(f"{compiler} failed: {done.stderr[-500:]}")
    Path(draft).replace(target)
