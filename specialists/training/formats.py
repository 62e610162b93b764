"""Rows of training data in the forms that people keep them in, as chats.

OpenAI's (`messages`), ShareGPT's (`conversations`), Alpaca's (`instruction`, `input`, `output`),
and pairs of `prompt` and `completion`; preference pairs in OpenAI's form (`input`,
`preferred_output`, `non_preferred_output`) and TRL's (`chosen`, `rejected`, perhaps `prompt`). What
else a row holds is left alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from specialists.training.tool_formats import calls_of, tools_of

Turn = dict[str, Any]
Fields = Mapping[str, Any]

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
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What an assistant's thoughts are called, in files as in answers."""


class NotAChat(ValueError):
    """A row that has none of the known forms; says what is wrong with it."""


def as_chat(row: object) -> dict[str, Any]:
    """A row's `messages`, each with `role`, `content`, `calls` and perhaps `weight`; its `tools`.

    And `routes`, where the row has that.

    Not yet validated.

    Raises:
        NotAChat: it is of no known form, or holds what cannot be learnt.
        NotACall: its tools or calls cannot be read.
    """
    if not isinstance(row, Mapping):
        raise NotAChat("is no object")
    if is_pair(row):
        raise NotAChat("is a preference pair: pairs are learnt from with the method 'dpo'")
    read = _form(row, FORMS)
    routes = {"routes": row["routes"]} if "routes" in row else {}
    return {"messages": read(row), "tools": tools_of(row), **routes}


def as_pair(row: object) -> dict[str, Any]:
    """The same of a preference pair: a chat that ends as it is `preferred`, and one `refused`.

    Earlier answers are the same in both, and say nothing of what is preferred.

    Raises:
        NotAChat: it is of no known form, or holds what cannot be learnt.
        NotACall: its tools or calls cannot be read.
    """
    if not isinstance(row, Mapping):
        raise NotAChat("is no object")
    asked, *answers = _form(row, PAIR_FORMS)(row)
    tools = tools_of(row["input"] if isinstance(row.get("input"), Mapping) else row)
    before = [turn | {"weight": 0} if turn["role"] == "assistant" else turn for turn in asked]
    chats = [{"messages": [*before, *answer], "tools": tools} for answer in answers]
    return dict(zip(("preferred", "refused"), chats, strict=True))


def is_pair(row: object) -> bool:
    """Whether a row has the form of a preference pair."""
    return isinstance(row, Mapping) and any(
        all(field in row for field in fields) for fields in PAIR_FORMS
    )


def has_form(row: Fields) -> bool:
    """Whether a row has the form of a chat, or of a preference pair."""
    return is_pair(row) or any(all(field in row for field in fields) for fields in FORMS)


def _form(row: Fields, forms: Mapping[tuple[str, ...], "Read"]) -> "Read":
    for fields, read in forms.items():
        if all(field in row for field in fields):
            return read
    known = "; ".join(" and ".join(map(repr, fields)) for fields in forms)
    raise NotAChat(f"has none of these: {known}")


def _messages(row: Fields) -> list[Turn]:
    return _turns("messages", row["messages"])


def _conversations(row: Fields) -> list[Turn]:
    before = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return before + _turns("conversations", row["conversations"])


def _alpaca(row: Fields) -> list[Turn]:
    asked = "\n".join(str(part) for part in (row["instruction"], row.get("input")) if part)
    turns = [("system", row.get("system"))] if row.get("system") else []
    for said in row.get("history") or ():
        turns += zip(("user", "assistant"), said, strict=False)
    turns += [("user", asked), ("assistant", row["output"])]
    return [{"role": role, "content": content} for role, content in turns]


def _completion(row: Fields) -> list[Turn]:
    return _said(row, "prompt", "user") + _said(row, "completion", "assistant")


def _said(row: Fields, field: str, role: str) -> list[Turn]:
    """A field that holds turns, or one turn's text."""
    said = row[field]
    return _turns(field, said) if isinstance(said, list) else [{"role": role, "content": said}]


def _outputs(row: Fields) -> list[list[Turn]]:
    asked = row["input"]
    if not isinstance(asked, Mapping):
        raise NotAChat("'input' must be an object")
    answers = ("preferred_output", "non_preferred_output")
    return [
        _turns("input.messages", asked.get("messages")),
        *(_turns(field, row[field]) for field in answers),
    ]


def _chosen(row: Fields) -> list[list[Turn]]:
    answers = [_said(row, field, "assistant") for field in ("chosen", "rejected")]
    return [_said(row, "prompt", "user"), *answers]


def _conversations_apart(row: Fields) -> list[list[Turn]]:
    chosen, rejected = (_turns(field, row[field]) for field in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise NotAChat("'chosen' and 'rejected' must begin with the same request")
    return [chosen[:-1], chosen[-1:], rejected[-1:]]


Read = Callable[[Fields], list[Any]]
FORMS: dict[tuple[str, ...], Read] = {
    ("messages",): _messages,
    ("conversations",): _conversations,
    ("instruction", "output"): _alpaca,
    ("prompt", "completion"): _completion,
}
PAIR_FORMS: dict[tuple[str, ...], Read] = {
    ("input", "preferred_output", "non_preferred_output"): _outputs,
    ("prompt", "chosen", "rejected"): _chosen,
    ("chosen", "rejected"): _conversations_apart,
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
    thoughts = next((turn[name] for name in THOUGHTS if isinstance(turn.get(name), str)), "")
    if ROLES[role] == "assistant":
        found["thoughts"] = thoughts
    return found | ({"weight": turn["weight"]} if turn.get("weight") is not None else {})


def _text(path: str, content: object) -> object:
    """A turn's text; parts are joined, and only text has a place in them."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise NotAChat(f"'{path}' holds a part that is not text")
    return "".join(part["text"] for part in content)
