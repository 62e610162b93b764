"""What a specialist was asked, and what people thought of its answers, as rows to learn from."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from specialists.errors import TrainingDataError

Conversation = Mapping[str, Any]
"""As `GET /v1/specialists/{owner}/{name}/conversations` has it."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of JSON lines, how many they are, and how many conversations are none, by why."""

    rows: bytes
    count: int
    left_out: Counter[str]


def chats(conversations: Iterable[Conversation], *, unrated: bool = False) -> Taken:
    """Rows with the answers that were called good, and with what owners want said in their place.

    Args:
        conversations: of the same request the last counts.
        unrated: whether answers of which nobody said anything are taken too.

    Raises:
        TrainingDataError: none can be learnt from.
    """
    rows: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for each in conversations:
        answer, reason = _answer(each, unrated=unrated)
        if answer is None:
            left_out[reason] += 1
            continue
        turns = [*each["request"]["messages"], answer]
        tools = {"tools": each["request"]["tools"]} if each["request"].get("tools") else {}
        left_out["asked again"] += _add(rows, each, {"messages": turns, **tools})
    return _taken(rows, left_out)


def pairs(conversations: Iterable[Conversation]) -> Taken:
    """Preference pairs: what owners want said, rather than what was answered.

    Raises:
        TrainingDataError: none can be learnt from.
    """
    rows: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for each in conversations:
        said = each["answer"][0]
        if each["correction"] is None:
            left_out["not corrected"] += 1
        elif said.get("tool_calls") or said.get("content") == each["correction"]:
            left_out["nothing to tell apart"] += 1
        else:
            row = {
                "input": each["request"],
                "preferred_output": [_assistant(each["correction"])],
                "non_preferred_output": [_assistant(said["content"])],
            }
            left_out["asked again"] += _add(rows, each, row)
    return _taken(rows, left_out)


def _answer(each: Conversation, *, unrated: bool) -> tuple[dict[str, Any] | None, str]:
    """The answer to learn, or why there is none."""
    if each["correction"] is not None:
        return _assistant(each["correction"]), ""
    if each["rating"] == "bad":
        return None, "called bad"
    if each["rating"] is None and not unrated:
        return None, "not rated"
    said = each["answer"][0]
    if said.get("tool_calls"):
        called = {"tool_calls": said["tool_calls"]}
        return {**_assistant(said.get("content") or "", said), **called}, ""
    if not (said.get("content") or "").strip():
        return None, "empty"
    return _assistant(said["content"], said), ""


def _assistant(text: str, said: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """An answer, with what was thought before it was said."""
    thoughts = said.get("reasoning_content")
    thought = {"reasoning_content": thoughts} if thoughts else {}
    return {"role": "assistant", "content": text} | thought


def _add(rows: dict[str, str], each: Conversation, row: Mapping[str, Any]) -> bool:
    """Add a row in the place of an earlier one to the same request; whether there was one."""
    request = json.dumps(each["request"], sort_keys=True)
    known = rows.pop(request, None) is not None
    rows[request] = json.dumps(row, ensure_ascii=False)
    return known


def _taken(rows: Mapping[str, str], left_out: Counter[str]) -> Taken:
    if not rows:
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items() if count)
        raise TrainingDataError(
            f"nothing was asked that can be learnt from: {reasons or 'nothing was kept'}"
        )
    content = "".join(f"{row}\n" for row in rows.values()).encode()
    return Taken(content, len(rows), +left_out)
