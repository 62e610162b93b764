"""A card's text: JSON or a plain subset of YAML, read without trusting its writer."""

from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from registry import strict_json
from registry.errors import InvalidCard

MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 8
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_fields(text: str | bytes) -> Mapping[str, Any]:
    """Parse a card's fields; JSON when it starts with a brace, YAML otherwise.

    Raises:
        InvalidCard: too large, not readable, or not a mapping of names to values.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise InvalidCard(f"has {len(data):,} bytes; at most {MAX_BYTES:,} are allowed.")
    data = data.removeprefix(b"\xef\xbb\xbf").strip()
    fields = _read_json(data) if data.startswith(b"{") else _read_yaml(data)
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise InvalidCard("must be a mapping with text keys, such as 'description: ...'.")
    return fields


def _read_json(data: bytes) -> object:
    try:
        return strict_json.loads(data)
    except ValueError as error:
        raise InvalidCard(f"is not valid JSON: {error}.") from None


def _read_yaml(data: bytes) -> object:
    try:
        text = data.decode("utf-8")
        _check_events(text)
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 (a safe loader, made stricter)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InvalidCard(f"is not valid YAML: {reason}.") from None


def _check_events(text: str) -> None:
    """Refuse what a card never needs, before anything is built: a few bytes of it can grow huge."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("anchors and aliases are not allowed")
        tag = getattr(event, "tag", None)
        if tag:
            raise ValueError(f"the tag {tag[:64]!a} is not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")


class _UniqueKeys(_Loader):  # type: ignore[misc]  # the base is chosen at run time
    """The safe loader, refusing a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise ValueError(f"a key appears twice in the mapping{node.start_mark}")
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping
