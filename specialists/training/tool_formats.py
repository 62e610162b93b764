"""Tools and calls in rows of training data: OpenAI's, and ShareGPT's as LLaMA-Factory has them."""

import json
from collections.abc import Mapping
from typing import Any

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class NotACall(ValueError):
    """A tool or a call that cannot be read; says what is wrong with it."""


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools that a row offers, each with `name`, `parameters` and `description`.

    Raises:
        NotACall: they are no list of functions.
    """
    tools = _unquoted(row.get("tools") or [])
    if not isinstance(tools, list):
        raise NotACall("'tools' must be a list")
    return [_tool(f"tools[{at}]", tool) for at, tool in enumerate(tools)]


def calls_of(path: str, turn: Mapping[str, Any]) -> list[dict[str, str]]:
    """The calls that a turn makes, each with `name` and `arguments`, a JSON object as text.

    Raises:
        NotACall: they are no calls.
    """
    if turn.get("from") == "function_call":
        made = _unquoted(turn.get("value"))
        return [_call(path, call) for call in (made if isinstance(made, list) else [made])]
    calls = [turn["function_call"]] if turn.get("function_call") else turn.get("tool_calls") or []
    if not isinstance(calls, list):
        raise NotACall(f"'{path}.tool_calls' must be a list")
    return [_call(f"{path}.tool_calls[{at}]", call) for at, call in enumerate(calls)]


def _tool(path: str, tool: object) -> dict[str, Any]:
    function = _function(path, tool)
    parameters = function.get("parameters") or NO_ARGUMENTS
    if not isinstance(parameters, Mapping):
        raise NotACall(f"'{path}' has parameters that are no schema")
    return {
        "name": function["name"],
        "description": function.get("description"),
        "parameters": json.dumps(parameters, ensure_ascii=False),
    }


def _call(path: str, call: object) -> dict[str, str]:
    function = _function(path, call)
    arguments = _unquoted(function.get("arguments") or {})
    if not isinstance(arguments, Mapping):
        raise NotACall(f"'{path}' has arguments that are no JSON object")
    return {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}


def _function(path: str, value: object) -> Mapping[str, Any]:
    """What has a name: the object itself, or its field `function`."""
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise NotACall(f"'{path}' must be a function with a name")
    return function


def _unquoted(value: Any) -> Any:
    """JSON that may stand in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
