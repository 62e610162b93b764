"""Cards: what a specialist says of itself."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from registry import card_text
from registry.errors import InvalidCard, InvalidReference, UnreadableCard
from registry.manifest import canonical
from registry.persona import Persona
from registry.plain_words import in_words
from registry.readable import Example, Line, Paragraph, Short
from registry.reference import DIGEST, parse_id

FILLED_IN = frozenset({"base", "base_digest", "evaluation", "origins"})
"""Fields that say what a version was made for and from, and its scores: training fills them in."""
FEW_EXAMPLES = 16
"""Fewer leave much open that a description says."""
UNREADABLE = "This specialist's card cannot be read by this release; register it again."
StopText = Annotated[str, Field(min_length=1, max_length=256)]


class Evaluation(BaseModel):
    """A held-out score, beside the bare base's score on the same rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Short
    value: FiniteFloat
    base_value: FiniteFloat | None = None
    rows: NonNegativeInt | None = None
    data: Line | None = None


class Dataset(BaseModel):
    """What a specialist learnt from; by its digest it is known again under any name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    digest: Annotated[str, Field(pattern=rf"^{DIGEST}$")] | None = None
    rows: NonNegativeInt | None = None
    license: Line | None = None


class Teacher(BaseModel):
    """A model whose answers a specialist learnt from.

    `tokens` are those that it read and wrote for that, `rejected` is the share of its answers that
    was left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    license: Line | None = None
    tokens: NonNegativeInt | None = None
    rejected: Annotated[float, Field(ge=0, le=1)] | None = None


class Origins(BaseModel):
    """What a version was made from, beside its base.

    `parents` are references to registered versions that it was trained on from; an alias means the
    version that it points to when this one is registered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parents: tuple[Line, ...] = Field(default=(), max_length=16)
    teachers: tuple[Teacher, ...] = Field(default=(), max_length=16)
    datasets: tuple[Dataset, ...] = Field(default=(), max_length=64)
    job: Line | None = None


class SamplingDefaults(BaseModel):
    """How a specialist's answers are best sampled, where a request does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    stop: Annotated[tuple[StopText, ...], Field(max_length=4)] | None = None


class Card(BaseModel):
    """A specialist's name, purpose and example requests.

    The name may be written as `id: owner/name`, as `name: owner/name`, or as `owner` and `name`.
    `examples` are shown to everybody; `private_examples` serve routing alone and never leave the
    server. `sampling` holds for requests that do not say otherwise. `base` is the base model it
    was made for, `base_digest` which weights that name stood for; None leaves that open. `price`
    is what a million tokens of its answers cost, in the currency of its server. `persona` is for
    those who show it to people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    description: Paragraph
    tags: tuple[Short, ...] = Field(default=(), max_length=32)
    examples: tuple[Example, ...] = Field(default=(), max_length=512)
    private_examples: tuple[Example, ...] = Field(default=(), max_length=512)
    sampling: SamplingDefaults | None = None
    license: Line | None = None
    language: Short = "en"
    base: Line | None = None
    base_digest: Annotated[str, Field(pattern=rf"^{DIGEST}$")] | None = None
    evaluation: tuple[Evaluation, ...] = Field(default=(), max_length=64)
    origins: Origins | None = None
    price: Annotated[FiniteFloat, Field(ge=0)] | None = None
    persona: Persona | None = None

    @model_validator(mode="before")
    @classmethod
    def _join_name(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or "id" in fields or "name" not in fields:
            return fields
        owner = [fields["owner"]] if "owner" in fields else []
        rest = {key: value for key, value in fields.items() if key not in ("owner", "name")}
        return rest | {"id": "/".join(map(str, [*owner, fields["name"]]))}

    @field_validator("id")
    @classmethod
    def _check_id(cls, text: str) -> str:
        try:
            return parse_id(text).id
        except InvalidReference as error:
            raise ValueError(error.message) from None

    @field_validator("tags")
    @classmethod
    def _fold_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        """Lower-case and each once, so that a look-up by tag finds every spelling."""
        return tuple(dict.fromkeys(folded(tag) for tag in tags))

    @property
    def routed_by(self) -> list[str]:
        """The distinct texts by which requests find it: examples; if few, its description too."""
        texts = [text.strip() for text in (*self.examples, *self.private_examples)]
        few = len(set(texts)) < FEW_EXAMPLES
        return list(dict.fromkeys([*texts, self.description] if few else texts))

    @classmethod
    def parse(cls, text: str | bytes) -> "Card":
        """Read a card written in JSON or YAML.

        Raises:
            InvalidCard: it cannot be read, or a field is missing, unknown or out of bounds.
        """
        return cls.of(card_text.read_fields(text))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Card":
        """Build a card from its fields.

        Raises:
            InvalidCard: a field is missing, unknown or out of bounds.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InvalidCard(in_words(first), _path(first["loc"])) from None

    @classmethod
    def stored(cls, text: str) -> "Card":
        """Read a card that was accepted once, perhaps by another release.

        Raises:
            UnreadableCard: this release does not understand it.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            message = f"card.{_path(first['loc']) or ''} {in_words(first)}"
            raise UnreadableCard(message) from None

    def canonical(self) -> bytes:
        """One spelling per card, the one its digest is taken of; defaults are left out."""
        return canonical(self.model_dump(mode="json", exclude_defaults=True))


def folded(trait: str) -> str:
    """The form in which tags, languages and licences are stored and looked up."""
    return trait.strip().casefold()


def _path(location: tuple[int | str, ...]) -> str | None:
    """("examples", 3) as `examples[3]`; an unknown key is shown short and printable."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in location]
    return "".join(parts).removeprefix(".") or None


def _key(part: str) -> str:
    return part[:64].encode("ascii", "backslashreplace").decode()
