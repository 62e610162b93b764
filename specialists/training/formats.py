"""Rows of training data in the forms that people keep them in, as chats.

OpenAI's (`messages`), ShareGPT's (`conversations`), Alpaca's (`instruction`, `input`, `output`),
and pairs of `prompt` and `completion`. What else a row holds is left alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from specialists.training.tool_formats import calls_of, tools_of

Turn = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


class NotAChat(ValueError):
    """A row that has none of the known forms; says what is wrong with it."""


def as_chat(row: object) -> dict[str, Any]:
    """A row's `messages`, each with `role`, `content`, `calls` and perhaps `weight`, and `tools`.

    Not yet validated.

    Raises:
        NotAChat: it is of no known form, or holds what cannot be learnt.
        NotACall: its tools or calls cannot be read.
    """
    if not isinstance(row, Mapping):
        raise NotAChat("is no object")
    for fields, read in FORMS.items():
        if all(field in row for field in fields):
            return {"messages": read(row), "tools": tools_of(row)}
    forms = "; ".join(" and ".join(map(repr, fields)) for fields in FORMS)
    raise NotAChat(f"has none of these: {forms}")


def _messages(row: Mapping[str, Any]) -> list[Turn]:
    return _turns("messages", row["messages"])


def _conversations(row: Mapping[str, Any]) -> list[Turn]:
    before = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return before + _turns("conversations", row["conversations"])


def _alpaca(row: Mapping[str, Any]) -> list[Turn]:
    asked = "\n".join(str(part) for part in (row["instruction"], row.get("input")) if part)
    turns = [("system", row.get("system"))] if row.get("system") else []
    for said in row.get("history") or ():
        turns += zip(("user", "assistant"), said, strict=False)
    turns += [("user", asked), ("assistant", row["output"])]
    return [{"role": role, "content": content} for role, content in turns]


def _completion(row: Mapping[str, Any]) -> list[Turn]:
    def turns(field: str, role: str) -> list[Turn]:
        said = row[field]
        return _turns(field, said) if isinstance(said, list) else [{"role": role, "content": said}]

    return turns("prompt", "user") + turns("completion", "assistant")


FORMS: dict[tuple[str, ...], Callable[[Mapping[str, Any]], list[Turn]]] = {
    ("messages",): _messages,
    ("conversations",): _conversations,
    ("instruction", "output"): _alpaca,
    ("prompt", "completion"): _completion,
}


def _turns(field: str, turns: object) -> list[Turn]:
    if not isinstance(turns, list):
        raise NotAChat(f"'{field}' must be a list")
    return [_turn(f"{field}[{at}]", turn) for at, turn in enumerate(turns)]


def _turn(path: str, turn: object) -> Turn:
    if not isinstance(turn, Mapping):
        raise NotAChat(f"'{path}' must be an object")
    role = turn.get("role", turn.get("from"))
    if role not in ROLES:
        raise NotAChat(f"'{path}' has the role {role!a}; known are {', '.join(ROLES)}")
    calls = calls_of(path, turn)
    said = None if role == "function_call" else turn.get("content", turn.get("value"))
    content = "" if calls and said is None else _text(path, said)
    found = {"role": ROLES[role], "content": content, "calls": calls}
    return found | ({"weight": turn["weight"]} if turn.get("weight") is not None else {})


def _text(path: str, content: object) -> object:
    """A turn's text; parts are joined, and only text has a place in them."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise NotAChat(f"'{path}' holds a part that is not text")
    return "".join(part["text"] for part in content)
