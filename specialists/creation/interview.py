"""Interviews: a teacher thinks of what readers would ask, and answers from the material alone.

A teacher that is no more than the served base is asked for the question only: the passage itself,
in the creator's own words, is the answer (instruction backtranslation, Li et al. 2023,
https://arxiv.org/abs/2308.06259).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from registry.persona import Persona
from specialists.creation.material import Exchange, Passage, visible
from specialists.errors import BudgetSpent, TeacherFailed
from specialists.progress import Progress
from specialists.together import together
from specialists.training.distillation import listed
from specialists.training.teacher import Teacher

QUESTIONS = (
    "{name} wrote this:\n\n{text}\n\nThink of {count} different questions that a reader would ask "
    "and that this text answers. Write each on a line of its own, with nothing before or after it."
)
ANSWER = (
    "You are {name}.{about} This is how you speak:\n\n{voice}\n\nThis is all that you know:\n\n"
    "{text}\n\nAnswer in your own way, and say nothing that does not stand there: {question}\n\n"
    "If it does not stand there, say only NONE."
)
LONGEST_QUESTION = 300
GROUNDED = 0.5
"""Of the longer words of an answer, the share that the passage must have."""
_LONGER = re.compile(r"[^\W\d_]{4,}")
_STEM = 5
_OF_QUESTIONS = {
    *("what", "when", "where", "which", "whom", "whose", "does", "have", "that", "this", "with"),
    *("from", "your", "they", "them", "there", "their", "about", "would", "could", "should"),
}


@dataclass(frozen=True, slots=True)
class Interview:
    """What came of asking.

    Attributes:
        exchanges: what can be learnt from.
        silent: passages of which nothing came.
        rejected: how much was left out, by why.
        tokens: that the teacher read and wrote, then and before.
        stopped: why passages were left out; None where none were.
    """

    exchanges: list[Exchange]
    silent: list[Passage]
    rejected: Counter[str]
    tokens: int
    stopped: str | None

    @property
    def rejection_rate(self) -> float:
        """Of all answers, the share that was left out."""
        out = self.rejected.total()
        return out / (out + len(self.exchanges)) if out + len(self.exchanges) else 0.0


@dataclass(frozen=True, slots=True)
class Interviewer:
    """Asks a teacher about passages.

    Attributes:
        teacher: who is asked.
        persona: who answers.
        count: questions for each passage.
        own_words: whether the passage itself is the answer.
    """

    teacher: Teacher
    persona: Persona
    count: int
    own_words: bool

    async def about(self, passages: Sequence[Passage], report: Progress) -> Interview:
        """Go through passages.

        Raises:
            TeacherFailed: it answered nothing at all.
        """
        rejected: Counter[str] = Counter()
        failed: list[str] = []
        done = 0

        async def one(passage: Passage) -> list[Exchange]:
            nonlocal done
            try:
                found = await self._one(passage, rejected)
            except (BudgetSpent, TeacherFailed) as error:
                failed.append(str(error))
                found = []
            done += 1
            report("Asking about the material", done, len(passages))
            return found

        answered = await together(map(one, passages))
        found = [exchange for exchanges in answered for exchange in exchanges]
        silent = [each for each, got in zip(passages, answered, strict=True) if not got]
        if failed and not found:
            raise TeacherFailed(failed[0])
        stopped = f"{len(failed)} passages were left out: {failed[0]}" if failed else None
        return Interview(found, silent, rejected, self.teacher.spent, stopped)

    async def _one(self, passage: Passage, rejected: Counter[str]) -> list[Exchange]:
        text = f"{passage.title}\n\n{passage.text}".strip()
        prompt = QUESTIONS.format(name=self.persona.name, text=text, count=self.count)
        said = await self.teacher.ask(
            [{"role": "user", "content": prompt}], temperature=0.0, max_tokens=64 * self.count
        )
        lines = listed(visible(said.text))
        questions = [each for each in lines if _asks(each, text)][: self.count]
        rejected["no question"] += not questions
        if self.own_words:
            return [Exchange(each, passage.text, passage.source) for each in questions[:1]]
        answers = [await self._answer(each, text, rejected) for each in questions]
        pairs = zip(questions, answers, strict=True)
        return [Exchange(asked, told, passage.source) for asked, told in pairs if told]

    async def _answer(self, question: str, text: str, rejected: Counter[str]) -> str:
        """The answer, or nothing where it is not to be learnt."""
        persona = self.persona
        voice = "\n\n".join(each.answer for each in persona.voice) or text
        about = f" {persona.about}" if persona.about else ""
        prompt = ANSWER.format(
            name=persona.name, about=about, voice=voice, text=text, question=question
        )
        said = await self.teacher.ask(
            [{"role": "user", "content": prompt}], temperature=0.0, max_tokens=512
        )
        answer = visible(said.text)
        reason = _shortcoming(answer, text, finished=said.finished)
        rejected[reason] += bool(reason)
        return "" if reason else answer


def _asks(line: str, text: str) -> bool:
    """Whether a line is a question that has to do with the text."""
    asks = line.endswith("?") and len(line) <= LONGEST_QUESTION
    return asks and bool(_stems(line) & _stems(text))


def _shortcoming(answer: str, text: str, *, finished: bool) -> str:
    if not answer:
        return "empty"
    if not finished:
        return "cut short"
    if answer.strip(".! ").upper() == "NONE":
        return "not in the material"
    own = _stems(answer)
    if own and len(own & _stems(text)) < GROUNDED * len(own):
        return "not grounded"
    return ""


def _stems(text: str) -> set[str]:
    """The longer words, by how they begin, whatever their endings; none that questions all have."""
    words = (word.casefold() for word in _LONGER.findall(text))
    return {word[:_STEM] for word in words if word not in _OF_QUESTIONS}
