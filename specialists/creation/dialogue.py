"""Who said what: transcripts and interviews, as exchanges with whom the specialist speaks for."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from specialists.creation.material import Exchange, Material

ANSWERING = {"a", "answer", "antwort", "respuesta", "réponse", "me", "assistant"}
TOLD_APART = 0.5
"""Of the lines, how many must name who speaks."""
_SPOKEN = re.compile(
    r"^\s*(?:[\[(]?[\d:.,]+[\])]?\s+)?\**([^\W\d_][\w .'’-]{0,40}?)\**\s*:\**\s+(\S.*)$"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody said, and where it stands."""

    speaker: str
    text: str
    source: str


def turns_of(lines: Iterable[tuple[str, str]], voice: str) -> list[Turn]:
    """The turns of lines and their places; none where these are no dialogue.

    A line without a speaker goes on with the turn before it. In a dialogue half of the lines name a
    speaker, and the `voice` speaks with others, or two speak more than once.
    """
    filled = [(line, place) for line, place in lines if line.strip()]
    found: list[tuple[str, list[str], str]] = []
    named: Counter[str] = Counter()
    for line, place in filled:
        spoken = _SPOKEN.match(line)
        if spoken:
            named[_folded(spoken[1])] += 1
            found.append((spoken[1].strip(), [spoken[2].strip()], place))
        elif found:
            _, said, _ = found[-1]
            said.append(line.strip())
    if named.total() < TOLD_APART * len(filled):
        return []
    own = sum(_speaks(voice, name) for name in named)
    again = sum(count > 1 for count in named.values())
    if own in (0, len(named)) and again < 2:
        return []
    return [Turn(speaker, " ".join(said), place) for speaker, said, place in found]


def exchanges_with(voice: str, turns: Sequence[Turn], source: str) -> Material:
    """What was said to the one whose voice it is, and what they said to that."""
    said = [_joined(list(group)) for _, group in groupby(turns, lambda turn: _folded(turn.speaker))]
    own = {_folded(turn.speaker) for turn in said if _speaks(voice, turn.speaker)}
    if not own:
        names = ", ".join(dict.fromkeys(turn.speaker for turn in said))
        return Material(unused=(f"{source}: nobody there is {voice}, but {names}",))
    return Material(
        exchanges=tuple(
            Exchange(asked.text, answer.text, answer.source)
            for asked, answer in pairwise(said)
            if _folded(answer.speaker) in own and _folded(asked.speaker) not in own
        )
    )


def _joined(turns: Sequence[Turn]) -> Turn:
    text = " ".join(turn.text for turn in turns)
    return Turn(turns[0].speaker, text, turns[0].source)


def _speaks(voice: str, speaker: str) -> bool:
    """Whether a speaker's label is that of the voice: its name, or a part of it, or `A`."""
    label = _folded(speaker)
    words = set(_folded(voice).split())
    return label in ANSWERING or set(label.split()) <= words


def _folded(name: str) -> str:
    return name.strip().strip(".").casefold()
