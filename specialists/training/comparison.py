"""Answers of several models behind OpenAI's API to the same held-out requests, compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specialists.errors import TrainingDataError
from specialists.progress import Progress
from specialists.together import together
from specialists.training.data import Row
from specialists.training.metrics import Estimate, mean, scored
from specialists.training.teacher import Teacher

ROOM = 16
"""Tokens that an answer may have beyond one for every two characters of its reference."""
FIRST, SECOND, NEITHER = 1.0, 0.0, 0.5
JUDGE = (
    "Two assistants were asked:\n\n{request}\n\nA good answer would be:\n\n{reference}\n\n"
    "Assistant A answered:\n\n{first}\n\nAssistant B answered:\n\n{second}\n\n"
    "Which answer is better? Say A, B or TIE, and nothing else."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """What models answered, and what it is worth.

    Attributes:
        rows: that were asked.
        left_out: rows with tools or calls, which are not compared here.
        figures: of each metric, each model's estimate.
        wins: of each model but the first, how often a judge preferred the first one's answers; ties
            count half. Empty without a judge.
    """

    rows: int
    left_out: int
    figures: dict[str, dict[str, Estimate]]
    wins: dict[str, Estimate]


async def compare(
    models: Mapping[str, Teacher], rows: Sequence[Row], judge: Teacher | None, report: Progress
) -> Compared:
    """Ask each model each row's request, greedily.

    Args:
        models: by their names; the first is the one in question.
        rows: what is asked, and what should be answered.
        judge: who says which answer is better, if somebody shall.
        report: told after each answer.

    Raises:
        TrainingDataError: there is no row that can be asked.
        TeacherFailed: a model or the judge does not answer.
    """
    asked = [row for row in rows if not row.tools and not any(turn.calls for turn in row.messages)]
    if not asked:
        raise TrainingDataError("there are no rows without tools, and others are not compared")
    answers = await _answers(models, asked, report)
    found = scored(answers, [row.answer.content for row in asked])
    wins = {} if judge is None else await _wins(judge, asked, answers, report)
    return Compared(len(asked), len(rows) - len(asked), found, wins)


async def _answers(
    models: Mapping[str, Teacher], rows: Sequence[Row], report: Progress
) -> dict[str, list[str]]:
    done = 0

    async def one(teacher: Teacher, row: Row) -> str:
        nonlocal done
        messages = [{"role": turn.role, "content": turn.content} for turn in row.request]
        room = len(row.answer.content) // 2 + ROOM
        answer = await teacher.ask(messages, temperature=0.0, max_tokens=room)
        done += 1
        report("Answering held-out rows", done, len(models) * len(rows))
        return answer.text

    asked = [one(teacher, row) for teacher in models.values() for row in rows]
    texts = iter(await together(asked))
    return {name: [next(texts) for _ in rows] for name in models}


async def _wins(
    judge: Teacher, rows: Sequence[Row], answers: Mapping[str, list[str]], report: Progress
) -> dict[str, Estimate]:
    """How often the first model's answers are preferred to each other's, whichever comes first."""
    first, *others = answers
    done = 0

    async def one(row: Row, own: str, other: str) -> float:
        nonlocal done
        there = await _preferred(judge, row, own, other)
        back = await _preferred(judge, row, other, own)
        done += 1
        report("Judging", done, len(others) * len(rows))
        return (there + 1 - back) / 2

    found = {}
    for other in others:
        pairs = zip(rows, answers[first], answers[other], strict=True)
        found[other] = mean(await together(one(*each) for each in pairs))
    return found


async def _preferred(judge: Teacher, row: Row, first: str, second: str) -> float:
    """1 for the first answer, 0 for the second, a half for neither."""
    if first.strip() == second.strip():
        return NEITHER
    request = "\n\n".join(f"{turn.role}: {turn.content}" for turn in row.request)
    prompt = JUDGE.format(request=request, reference=row.answer.content, first=first, second=second)
    said = await judge.ask([{"role": "user", "content": prompt}], temperature=0.0, max_tokens=4)
    word = re.search(r"\b(A|B|TIE)\b", said.text.upper())
    return {"A": FIRST, "B": SECOND}.get(word[1] if word else "TIE", NEITHER)
