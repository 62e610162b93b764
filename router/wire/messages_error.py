"""Errors of `/v1/messages`, in the shape that Anthropic's clients read."""

from typing import Any

PATH = "/v1/messages"
TYPES = {
    "body_too_large": "request_too_large",
    "deadline_exceeded": "timeout_error",
    "invalid_api_key": "authentication_error",
    "not_found": "not_found_error",
    "not_ready": "overloaded_error",
    "unavailable": "overloaded_error",
}
"""By code, where the type of OpenAI's error says less."""


def in_messages(error: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's error object as Anthropic's; `code` and `param` stay in it."""
    told = error["error"]
    return {"type": "error", "error": {**told, "type": _type(told["type"], told["code"] or "")}}


def is_of_messages(path: str) -> bool:
    """Whether a path is of this API."""
    return path == PATH or path.startswith(f"{PATH}/")


def _type(kind: str, code: str) -> str:
    known = TYPES.get("not_found" if code.endswith("_not_found") else code)
    return known or {"server_error": "api_error"}.get(kind, kind)
