"""Distillation: a teacher writes requests and answers them, and what is good of that is kept."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from specialists.errors import BudgetSpent, TeacherFailed, TrainingDataError
from specialists.progress import Progress
from specialists.together import together
from specialists.training.notebook import Answer
from specialists.training.teacher import Teacher

AT_A_TIME = 20
"""Requests that a teacher is asked to think of at once."""
FRUITLESS = 3
"""Times that it may think of none that is new before it is asked no more."""
LONGEST_REQUEST = 2000
ANSWER_TOKENS = 512
GOOD = 4
"""Of five, what a judge must give an answer."""
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s*")

REQUESTS = (
    "Think of {count} different requests that people would send to an assistant with these "
    "instructions:\n\n{brief}\n\nVary subject, length and tone. Write each on a line of its own, "
    "as the person would write it, with nothing before or after it.{more}"
)
OTHERS = "\n\nNone of them may be like these:\n{known}"
JUDGE = (
    "An assistant has these instructions:\n\n{brief}\n\nIt was asked:\n\n{request}\n\nIt answered:"
    "\n\n{answer}\n\nHow well does the answer follow the instructions and the request? Say one "
    "number from 1 (not at all) to 5 (perfectly), and nothing else."
)

HELPFUL = "Be helpful, and say nothing that is not so."
"""What an assistant without instructions is judged by."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be distilled.

    Attributes:
        brief: the instructions that the teacher follows, and that the specialist shall follow
            without being told; None where the teacher is to answer as it is.
        count: requests.
        judged: whether the teacher judges its answers, and poor ones are left out.
        sampling: how the teacher answers.
    """

    brief: str | None
    count: int = 200
    judged: bool = True
    sampling: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Distilled:
    """Rows to learn from.

    Attributes:
        rows: JSON lines, each with `messages`.
        kept: how many.
        rejected: those that were left out, by why.
        tokens: that the teacher read and wrote, then and before.
        stopped: why there are fewer than wanted; None where there are not.
    """

    rows: bytes
    kept: int
    rejected: dict[str, int]
    tokens: int
    stopped: str | None

    @property
    def rejection_rate(self) -> float:
        """Of all answers, the share that was left out."""
        out = sum(self.rejected.values())
        return out / (out + self.kept) if out + self.kept else 0.0


async def distil(
    teacher: Teacher, wanted: Wanted, requests: Sequence[str], report: Progress
) -> Distilled:
    """Have requests answered, or thought of first.

    Args:
        teacher: who is asked.
        wanted: what for.
        requests: what is asked; the teacher thinks of more where these are fewer than wanted.
        report: told after each answer.

    Raises:
        TeacherFailed: it answered nothing at all.
        TrainingDataError: nothing of what it answered can be learnt from.
    """
    stopped: str | None = None
    asked = _distinct(requests)
    if wanted.brief is not None and len(asked) < wanted.count:
        try:
            await _think(teacher, wanted.brief, wanted.count, asked, report)
        except BudgetSpent as error:
            stopped = str(error)
        except TeacherFailed as error:
            if not asked:
                raise
            stopped = str(error)
    chosen = asked[: wanted.count]
    failed: list[str] = []
    found = await _answers(teacher, wanted, chosen, report, failed)
    return _distilled(teacher, chosen, found, stopped, failed)


async def _think(
    teacher: Teacher, brief: str, count: int, asked: list[str], report: Progress
) -> None:
    """Add requests that the teacher thinks of, until there are enough or it thinks of no more."""
    fruitless = 0
    while len(asked) < count and fruitless < FRUITLESS:
        known = "\n".join(asked[-AT_A_TIME:])
        prompt = REQUESTS.format(
            count=AT_A_TIME, brief=brief, more=OTHERS.format(known=known) if known else ""
        )
        # A seed of its own makes each a question of its own, to be found in the notebook again.
        answer = await teacher.ask(
            [{"role": "user", "content": prompt}],
            temperature=1.0,
            max_tokens=AT_A_TIME * 64,
            seed=len(asked) + fruitless,
        )
        before = len(asked)
        asked[:] = _distinct([*asked, *listed(answer.text)])
        fruitless = fruitless + 1 if len(asked) == before else 0
        report("Thinking of requests", min(len(asked), count), count)


async def _answers(
    teacher: Teacher, wanted: Wanted, requests: Sequence[str], report: Progress, failed: list[str]
) -> list[tuple[Answer | None, str]]:
    """Each request's answer, and why it is left out: empty where it is not.

    What failures say is added to `failed`.
    """
    done = 0

    async def one(request: str) -> tuple[Answer | None, str]:
        nonlocal done
        found: tuple[Answer | None, str]
        try:
            found = await _judged(teacher, wanted, request)
        except BudgetSpent:
            found = None, "budget"
        except TeacherFailed as error:
            failed.append(str(error))
            found = None, "no answer"
        done += 1
        report("Asking the teacher", done, len(requests))
        return found

    return await together(map(one, requests))


async def _judged(teacher: Teacher, wanted: Wanted, request: str) -> tuple[Answer, str]:
    told = [] if wanted.brief is None else [{"role": "system", "content": wanted.brief}]
    turns = [*told, {"role": "user", "content": request}]
    sampling = {"temperature": 0.7, "max_tokens": ANSWER_TOKENS} | wanted.sampling
    answer = await teacher.ask(turns, **sampling)
    if not answer.text.strip():
        return answer, "empty"
    if not answer.finished:
        return answer, "cut short"
    if wanted.judged and await _grade(teacher, wanted, request, answer.text) < GOOD:
        return answer, "judged poor"
    return answer, ""


async def _grade(teacher: Teacher, wanted: Wanted, request: str, answer: str) -> int:
    brief = wanted.brief or HELPFUL
    prompt = JUDGE.format(brief=brief, request=request, answer=answer)
    turns = [{"role": "user", "content": prompt}]
    said = await teacher.ask(turns, temperature=0.0, max_tokens=8)
    # A judge that says no number says nothing against the answer.
    number = re.search(r"[1-5]", said.text)
    return int(number[0]) if number else GOOD


def _distilled(
    teacher: Teacher,
    requests: Sequence[str],
    found: Iterable[tuple[Answer | None, str]],
    stopped: str | None,
    failed: Sequence[str],
) -> Distilled:
    rows: list[str] = []
    rejected: Counter[str] = Counter()
    for request, (answer, reason) in zip(requests, found, strict=True):
        if reason or answer is None:
            rejected[reason] += 1
        else:
            rows.append(_row(request, answer))
    unasked = rejected.pop("budget", 0)
    if unasked:
        stopped = f"the budget was spent before {unasked} of {len(requests)} requests were answered"
    elif failed:
        stopped = f"{len(failed)} of {len(requests)} requests were not answered: {failed[0]}"
    if not rows and failed:
        raise TeacherFailed(failed[0])
    if not rows:
        why = stopped or ", ".join(f"{count} {reason}" for reason, count in rejected.items())
        raise TrainingDataError(f"nothing was learnt from the teacher: {why or 'no requests'}")
    content = "".join(f"{row}\n" for row in rows).encode()
    return Distilled(content, len(rows), dict(rejected), teacher.spent, stopped)


def _row(request: str, answer: Answer) -> str:
    turns = [("user", request), ("assistant", answer.text.strip())]
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def listed(text: str) -> list[str]:
    """The requests in a teacher's list, without what numbers or quotes them."""
    lines = (_NUMBERING.sub("", line).strip().strip('"“”').strip() for line in text.splitlines())
    return [line for line in lines if 0 < len(line) <= LONGEST_REQUEST]


def _distinct(requests: Iterable[str]) -> list[str]:
    """Requests whose words, in any case and order, no earlier one has."""
    seen: dict[frozenset[str], str] = {}
    for request in requests:
        words = frozenset(re.findall(r"\w+", request.casefold()))
        if words:
            seen.setdefault(words, request.strip())
    return list(seen.values())
