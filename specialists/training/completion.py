"""What of a response in OpenAI's form a teacher's answer is made of."""

from textwrap import shorten

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from specialists.engine.thoughts import apart
from specialists.training.notebook import Answer

LONGEST_REFUSAL = 500
"""Characters of a teacher's own words that are passed on."""


class _Message(BaseModel):
    content: str | None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    total_tokens: NonNegativeInt | None = None


class _Completion(BaseModel):
    """What of OpenAI's response is looked at."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Error(BaseModel):
    message: str


class _Refusal(BaseModel):
    error: _Error


def said_in(content: bytes) -> Answer | None:
    """The answer in a response, without thoughts in it; None for one of another form."""
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError:
        return None
    choice, usage = completion.choices[0], completion.usage or _Usage()
    said = choice.message.content
    if said is None and choice.finish_reason != "length":
        return None
    # Who was cut short among their thoughts has said nothing.
    _, text = apart(said or "")
    tokens = usage.total_tokens or len(text) // 3
    return Answer(text, choice.finish_reason == "stop", tokens)


def refusal_in(content: bytes) -> str:
    """Why a request was refused, in short; empty where the response does not say."""
    try:
        return shorten(_Refusal.model_validate_json(content).error.message, LONGEST_REFUSAL)
    except ValidationError:
        return ""
