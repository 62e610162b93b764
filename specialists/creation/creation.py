"""From material to a persona, and to what a specialist is trained on."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registry.persona import Persona
from specialists.creation.interview import Interview, Interviewer
from specialists.creation.material import Exchange, Material, Passage
from specialists.creation.persona import PERSONA, always, completed
from specialists.errors import TrainingDataError
from specialists.progress import Progress
from specialists.training.teacher import Teacher

BY_TITLE = ("{title}", "What do you say about {title}?")
LONGEST_TITLE = 120


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked about passages: how many questions for each, and whether it only thinks of them.

    With `own_words` the passage itself is the answer.
    """

    teacher: Teacher
    questions: int
    own_words: bool


@dataclass(frozen=True, slots=True)
class Created:
    """What came of some material.

    Attributes:
        persona: who speaks.
        rows: JSON lines with `messages` and the `source` of the answer; what the persona always
            says is asked of anybody, so that it is no reason to be routed there.
        count: of them.
        sources: that they come from.
        untitled: passages of which nothing came, having no title to go by either.
        interview: with the teacher, if there was one.
    """

    persona: Persona
    rows: bytes
    count: int
    sources: int
    untitled: int
    interview: Interview | None


async def created(
    material: Material, given: Persona, voice: str, asking: Asking | None, report: Progress
) -> Created:
    """Make rows of all that was found.

    Args:
        material: what somebody wrote and said.
        given: what is known of the persona; the rest is as usual.
        voice: whose it is, where the persona does not say.
        asking: a teacher for the passages; where nothing comes of that, their titles are asked for.
        report: told after each passage.

    Raises:
        TeacherFailed: it answered nothing at all.
        TrainingDataError: there is nothing to learn from.
    """
    interview, titled = None, material.passages
    if asking is not None and material.passages:
        who = completed(given, voice, material.exchanges)
        interviewer = Interviewer(asking.teacher, who, asking.questions, asking.own_words)
        interview = await interviewer.about(material.passages, report)
        titled = tuple(interview.silent)
    asked = interview.exchanges if interview is not None else []
    exchanges = [*material.exchanges, *asked, *by_title(titled)]
    if not exchanges:
        raise TrainingDataError(_nothing(material, interview))
    persona = completed(given, voice, exchanges)
    chosen = _each_once([*always(persona, len(exchanges)), *exchanges])
    rows = "".join(f"{_row(each)}\n" for each in chosen).encode()
    return Created(
        persona=persona,
        rows=rows,
        count=len(chosen),
        sources=len({each.source for each in chosen}),
        untitled=sum(not each.title for each in titled),
        interview=interview,
    )


def by_title(passages: Iterable[Passage]) -> Iterator[Exchange]:
    """The first passage under each title, as the answer to somebody who asks for that."""
    seen: set[str] = set()
    for each in passages:
        if each.title and each.title not in seen and len(each.title) <= LONGEST_TITLE:
            seen.add(each.title)
            yield from (
                Exchange(form.format(title=each.title), each.text, each.source) for form in BY_TITLE
            )


def _each_once(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Of exchanges with the same request the first."""
    seen: dict[str, Exchange] = {}
    for each in exchanges:
        seen.setdefault(" ".join(each.request.casefold().split()), each)
    return list(seen.values())


def _row(exchange: Exchange) -> str:
    turns = [("user", exchange.request), ("assistant", exchange.answer)]
    messages = [{"role": role, "content": content} for role, content in turns]
    row: dict[str, object] = {"messages": messages, "source": exchange.source}
    if exchange.source == PERSONA:
        row["routes"] = False
    return json.dumps(row, ensure_ascii=False)


def _nothing(material: Material, interview: Interview | None) -> str:
    if interview is not None:
        reasons = ", ".join(f"{count} {why}" for why, count in interview.rejected.items() if count)
        return f"nothing that the teacher said can be learnt from: {reasons or 'no questions'}"
    if material.passages:
        return (
            f"{len(material.passages)} passages were found, but neither questions with answers nor "
            "titles: have a model think of questions"
        )
    return "nothing was found to learn from" + "".join(f"\n  {each}" for each in material.unused)
