"""JSON as strangers may send it: no duplicate keys, no NaN, nothing that exhausts the reader."""

import json
from typing import Any, NoReturn


def loads(data: bytes) -> object:
    """Parse one JSON document in UTF-8.

    Raises:
        ValueError: it is not JSON, nests too deep, repeats a key, or holds NaN or Infinity.
    """
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:160]!a} appears twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
