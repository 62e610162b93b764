"""What pydantic finds wrong, in the words of those who wrote it: no types of ours, no Python."""

from collections.abc import Mapping
from typing import Any

KINDS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
}
SENTENCES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not known here; remove it",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "string_unicode": "must be valid Unicode text",
}
"""By pydantic's kinds of error, over the fields of their contexts."""
OURS = {"invalid_value", "invalid_type", "unknown_parameter", "unsupported_parameter"}


def in_words(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, to be written behind its name; no full stop.

    Args:
        error: one of those that pydantic's `ValidationError.errors()` gives.
    """
    kind: str = error["type"]
    context = error.get("ctx", {})
    if kind in SENTENCES:
        return SENTENCES[kind].format(**context)
    if kind.endswith(("too_short", "too_long")):
        return _of_wrong_length(context, error.get("input"))
    if kind == "value_error":
        return str(context.get("error") or error["msg"].removeprefix("Value error, "))
    for word, wanted in KINDS.items():
        if kind == f"{word}_type" or kind.startswith((f"{word}_parsing", f"{word}_from")):
            return f"must be {wanted}"
    # Ours are written for people; what pydantic adds one day is not.
    return str(error["msg"]) if kind in OURS else "is not a value that is taken here"


def _of_wrong_length(context: Mapping[str, Any], given: object) -> str:
    what = "characters" if isinstance(given, str) else "items"
    count = f", these are {len(given):,}" if isinstance(given, str | list | tuple) else ""
    if "max_length" in context:
        return f"has too many {what}; at most {context['max_length']:,} are taken{count}"
    return f"has too few {what}; at least {context['min_length']:,} are needed{count}"
