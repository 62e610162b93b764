"""Rows as tokens, each marked as one to be learnt or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.training.data import Message, Row
from specialists.training.documents import Document
from specialists.training.lessons import Lesson
from specialists.training.pairs import Pair

LONGEST_TOKEN = 256
"""Characters: texts that are too long by that measure are not even cut into tokens."""
REWRITTEN = (
    "the base's chat template changes earlier turns when a chat goes on, so that its "
    "answers cannot be told apart: train on chats of one answer, or with another base"
)


@dataclass(frozen=True, slots=True)
class Example:
    """A row as tokens.

    Attributes:
        tokens: of the whole chat.
        learnt: for each token, whether it is the assistant's and to be learnt.
        instructed: the same row with an instruction before it, as the base saw it that answered.
        refused: the same request with the answer that is not wanted; of a pair.
        lead: of a pair, by how many nats the wanted answer was the likelier one before training.
    """

    tokens: list[int]
    learnt: list[bool]
    instructed: "Example | None" = None
    refused: "Example | None" = None
    # Not shown, since the same rows are the same run wherever they are computed.
    lead: float = field(default=0.0, repr=False)

    @property
    def parts(self) -> tuple["Example", ...]:
        """The chats that a network reads to learn from it."""
        return (self,) if self.refused is None else (self, self.refused)

    @property
    def count(self) -> int:
        """Learnt tokens."""
        return sum(self.learnt[1:])

    @property
    def lessons(self) -> int:
        """How many losses it has: each learnt token's, or the one of a pair."""
        return self.count if self.refused is None else 1


def encode_all(
    lessons: Sequence[Lesson], tokenizer: Tokenizer, limit: int, instruction: str | None = None
) -> list[Example]:
    """The examples of all that are short enough; with an `instruction`, see `encode_instructed`."""
    found = (examples_of(lesson, tokenizer, limit, instruction) for lesson in lessons)
    return [example for examples in found for example in examples]


def examples_of(
    lesson: Lesson, tokenizer: Tokenizer, limit: int, instruction: str | None = None
) -> list[Example]:
    """A chat or a pair as an example, or none when it is too long; a document as several.

    So is a chat of several answers where a base thinks: what it thought of one it does not see when
    it gives the next.

    Raises:
        TrainingDataError: an instruction goes before a request, and there is none.
    """
    if isinstance(lesson, Document):
        if instruction is not None:
            raise TrainingDataError("an instruction goes before requests, and documents have none")
        return encode_document(lesson, tokenizer, limit)
    if isinstance(lesson, Pair):
        found = [encode_pair(lesson, tokenizer, limit)]
    else:
        rows = _answers(lesson) if tokenizer.thinks else [lesson]
        found = [_encode(row, instruction, tokenizer, limit) for row in rows]
    return [example for example in found if example is not None]


def _answers(row: Row) -> list[Row]:
    """A chat up to each answer that is to be learnt."""
    turns = [message.model_copy(update={"weight": 0}) for message in row.messages]
    return [
        row.model_copy(update={"messages": (*turns[:at], message)})
        for at, message in enumerate(row.messages)
        if message.role == "assistant" and message.weight
    ]


def _encode(row: Row, instruction: str | None, tokenizer: Tokenizer, limit: int) -> Example | None:
    if instruction is None:
        return encode(row, tokenizer, limit)
    return encode_instructed(row, instruction, tokenizer, limit)


def encode_document(document: Document, tokenizer: Tokenizer, limit: int) -> list[Example]:
    """A document in pieces of at most `limit` tokens; the last one ends with the end of a text.

    All of its tokens are learnt but the first, before which nothing stands.
    """
    tokens = [*tokenizer.encode_part(document.text), *sorted(tokenizer.eos)[:1]]
    parts = (tokens[at : at + limit] for at in range(0, len(tokens), limit))
    return [Example(part, [True] * len(part)) for part in parts if len(part) > 1]


def encode_pair(pair: Pair, tokenizer: Tokenizer, limit: int) -> Example | None:
    """A pair as the example of its wanted answer; None when either is longer than `limit`."""
    wanted = encode(pair.preferred, tokenizer, limit)
    refused = encode(pair.refused, tokenizer, limit)
    if wanted is None or refused is None:
        return None
    return replace(wanted, refused=refused)


def encode(row: Row, tokenizer: Tokenizer, limit: int) -> Example | None:
    """A row as an example; None when it is longer than `limit` tokens.

    The prompt is tokenised as it is when it is served, and each answer by itself behind it: over
    the border between them no token may merge, since none does when the base answers. Of a base
    that thinks the last answer alone is learnt.
    """
    if sum(len(turn.content + turn.thoughts) for turn in row.messages) > limit * LONGEST_TOKEN:
        return None
    last = len(row.messages) - 1
    tokens: list[int] = []
    learnt: list[bool] = []
    read = ""
    for turn, message in enumerate(row.messages):
        if message.role == "assistant" and (turn == last or not tokenizer.thinks):
            asked = tokenizer.render_chat(row.messages[:turn], tools=row.tools)
            whole = tokenizer.render_chat(row.messages[: turn + 1], tools=row.tools, answer=False)
            prompt = tokenizer.encode_part(_rest(asked, read))
            answer = _tokens(tokenizer.answered(asked, whole, message), tokenizer)
            # What the template writes after the end of the turn is not the assistant's.
            end = _end_of_turn(answer, tokenizer)
            tokens += prompt + answer
            wanted = message.weight > 0
            learnt += [False] * len(prompt) + [wanted] * end + [False] * (len(answer) - end)
            read = whole
    return Example(tokens, learnt) if len(tokens) <= limit else None


def encode_instructed(
    row: Row, instruction: str, tokenizer: Tokenizer, limit: int
) -> Example | None:
    """A row without any instruction, and with one, as an example; None when it is too long.

    Only what is said there at first differs: the learnt tokens are the same. The instruction may be
    as long as it likes.
    """
    turns = tuple(turn for turn in row.messages if turn.role != "system")
    told = Message(role="system", content=instruction)
    plain = encode(row.model_copy(update={"messages": turns}), tokenizer, limit)
    long = len(instruction) + limit
    there = encode(row.model_copy(update={"messages": (told, *turns)}), tokenizer, long)
    if plain is None or there is None:
        return None
    return replace(plain, instructed=there)


def _rest(text: str, read: str) -> str:
    """What a template wrote after what it wrote before.

    Raises:
        TrainingDataError: it rewrites what came before.
    """
    if not text.startswith(read):
        raise TrainingDataError(REWRITTEN)
    return text[len(read) :]


def _tokens(parts: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    """The tokens of what a template wrote.

    Raises:
        TrainingDataError: there is nothing, since it rewrites what came before.
    """
    if not parts:
        raise TrainingDataError(REWRITTEN)
    return [token for part in parts for token in tokenizer.encode_part(part)]


def _end_of_turn(tokens: list[int], tokenizer: Tokenizer) -> int:
    for at in range(len(tokens) - 1, -1, -1):
        if tokens[at] in tokenizer.eos:
            return at + 1
    return len(tokens)
