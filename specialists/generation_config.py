"""A base's own advice on generating: `generation_config.json`, as transformers reads it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

FILE = "generation_config.json"
DRAWN = ("temperature", "top_p", "top_k", "min_p")


def generation_defaults(folder: Path) -> dict[str, Any]:
    """What a base's folder says of sampling, if anything, in the API's names.

    transformers heeds DRAWN only with `do_sample`, and is greedy where that is false.
    """
    config = _read(folder / FILE)
    found: dict[str, Any] = {}
    if config.get("do_sample"):
        found |= {name: config.get(name) for name in DRAWN}
    elif config.get("do_sample") is False:
        found["temperature"] = 0.0
    found["repetition_penalty"] = config.get("repetition_penalty")
    found["max_tokens"] = config.get("max_new_tokens")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def end_tokens(folder: Path) -> set[int]:
    """The tokens that end an answer, as far as a base's folder says so there."""
    found = _read(folder / FILE).get("eos_token_id")
    listed = found if isinstance(found, list) else [found]
    return {token for token in listed if isinstance(token, int)}


def write_generation_defaults(folder: Path, advice: Mapping[str, Any]) -> None:
    """Add advice on sampling, in transformers' names, to a folder's file."""
    config = _read(folder / FILE)
    advised = config | {"do_sample": True} | dict(advice)
    if advised != config:
        (folder / FILE).write_text(json.dumps(advised, indent=2, sort_keys=True) + "\n")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read, going on without it: %s", file, error)
        return {}
    return found if isinstance(found, dict) else {}
