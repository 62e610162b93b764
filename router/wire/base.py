"""What all request bodies share: nothing unknown is accepted, nothing unsupported ignored."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from router.errors import did_you_mean

LONGEST_NAME = 64


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("invalid_value", "must not contain NUL characters; remove them")
    return text


def bounded(most: int, what: str) -> BeforeValidator:
    """Refuse a list or an object by its length, before any of its items is looked at."""

    def check(value: object) -> object:
        if isinstance(value, list | dict) and len(value) > most:
            message = f"has {len(value):,} {what}; at most {most:,} are taken"
            raise PydanticCustomError("invalid_value", message.replace("{", "("))
        return value

    return BeforeValidator(check)


Text = Annotated[str, AfterValidator(_without_nul)]
"""What is looked for in a database. What a base reads may have any characters."""
ModelName = Annotated[Text, Field(min_length=1, max_length=256, examples=["auto", "owner/name"])]

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


ONE_OR_MORE = BeforeValidator(_as_list)
"""A text alone stands for a list of it."""


def refused(kind: str, field: str, message: str) -> PydanticCustomError:
    """An error of the given kind about `field` of the object that is being validated."""
    escaped = message.replace("{", "(").replace("}", ")")
    return PydanticCustomError(kind, escaped, {"field": field})


class Body(BaseModel):
    """An object of a request. A field that is null counts as left out, as in OpenAI's API.

    Attributes:
        ignored: Known fields that change no answer, whatever they hold.
        unsupported: Known fields that are not served, each with the values that ask for nothing
            and are therefore let pass.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    ignored: ClassVar[frozenset[str]] = frozenset()
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        ignored = cls._ignored(data)
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for field, value in data.items():
            if field in ignored:
                continue
            if field in cls.unsupported:
                cls._refuse_unsupported(field, value)
            elif field not in known:
                # A name of any length may come; one that is much too long is near to none.
                nearest = get_close_matches(field[:LONGEST_NAME], known, n=1)
                message = f"is not a parameter of this request; remove it.{did_you_mean(nearest)}"
                raise refused("unknown_parameter", field, message)
        return {
            field: value
            for field, value in data.items()
            if value is not None and field not in ignored and field not in cls.unsupported
        }

    @classmethod
    def _ignored(cls, _data: dict[str, Any]) -> Collection[str]:
        """The fields of this object that are not looked at."""
        return cls.ignored

    @classmethod
    def _refuse_unsupported(cls, field: str, value: object) -> None:
        if value is not None and value not in cls.unsupported[field]:
            message = "is not supported by this server; remove it"
            raise refused("unsupported_parameter", field, message)


class StreamOptions(Body):
    """What a stream carries beside its text."""

    unsupported: ClassVar = {"include_obfuscation": (False,)}
    include_usage: bool = Field(False, description="Whether it ends with a chunk of usage.")
    continuous_usage_stats: bool = Field(
        False, description="Whether, with that, each chunk has the usage so far."
    )
