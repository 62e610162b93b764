"""The field `routing` of a request: what it asks of `auto`, or whether the answer says who."""

from typing import Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from registry.card import folded
from router.errors import InvalidRequest
from router.routing.filters import Filters, Options
from router.routing.plan import MOST_STEPS, InvalidPlan, Plan, Step
from router.wire.base import ONE_OR_MORE, Body, ModelName, Share, Text, bounded, refused

MOST_NAMES = 64
Name = Annotated[Text, Field(min_length=1, max_length=256), AfterValidator(folded)]
Names = Annotated[list[Name], bounded(MOST_NAMES, "names"), ONE_OR_MORE]


StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class StepBody(Body):
    """One of several generations that lead to an answer."""

    name: StepName | None = Field(None, description="By default `step-1` and so on.")
    model: ModelName = "auto"
    prompt: Text | None = Field(
        None, description="With `{request}`, or `{NAME}` for the result of a step that it is after."
    )
    after: list[StepName] | None = Field(
        None, description="The steps whose results it works on; by default the one before it."
    )


class RoutingOptions(Body):
    """Whom `auto` may choose, and when; lists that are left out let everybody pass."""

    owners: Names = Field([], description="One of these must own it.")
    tags: Names = Field([], description="It must have each of these.")
    languages: Names = Field([], description="Its card must name one of these.")
    licenses: Names = Field([], description="Its card must name one of these.")
    blocked: Names = Field([], description="Specialists, or owners, that are left out.")
    preferred: Names = Field(
        [], description="Specialists, or owners, that go before others about as likely."
    )
    threshold: Share | None = Field(
        None, description="The probability, beside the base, from which on a specialist answers."
    )

    compose: bool = Field(
        False, description="Whether several specialists may answer one after the other."
    )
    steps: Annotated[list[StepBody], bounded(MOST_STEPS, "steps")] = Field(
        [], description="The generations that lead to the answer; the last one gives it."
    )

    @model_validator(mode="after")
    def _steps_lead_to_an_answer(self) -> Self:
        try:
            _ = self.plan
        except InvalidPlan as error:
            raise refused("invalid_value", "steps", str(error)) from None
        return self

    @property
    def plan(self) -> Plan | None:
        """The steps, if there are any."""
        if not self.steps:
            return None
        names = [step.name or f"step-{number}" for number, step in enumerate(self.steps, 1)]
        return Plan.of(
            [
                Step(
                    name,
                    step.model,
                    tuple(names[at - 1 : at] if step.after is None else step.after),
                    step.prompt,
                )
                for at, (name, step) in enumerate(zip(names, self.steps, strict=True))
            ]
        )

    @property
    def options(self) -> Options:
        """The same as routing takes it."""
        filters = Filters(
            frozenset(self.owners),
            frozenset(self.tags),
            frozenset(self.languages),
            frozenset(self.licenses),
            frozenset(self.blocked),
        )
        return Options(filters, frozenset(self.preferred), self.threshold)


def refuse_steps(routing: bool | RoutingOptions) -> None:
    """Refuse what only conversations are answered by.

    Raises:
        InvalidRequest: the request asks for steps.
    """
    for field in ("steps", "compose"):
        if getattr(routing, field, None):
            message = "Steps are for conversations; send them to /v1/chat/completions."
            raise InvalidRequest(message, param=f"routing.{field}")


Routing = Annotated[
    Annotated[bool, Tag("(shown)")] | Annotated[RoutingOptions, Tag("(options)")],
    Discriminator(
        lambda value: {bool: "(shown)", dict: "(options)"}.get(type(value)),
        custom_error_type="invalid_type",
        custom_error_message="must be true, false, or an object of options",
    ),
    Field(description="What is asked of `auto`, or whether the answer says who answered."),
]


def options_of(routing: bool | RoutingOptions) -> Options:
    """What a request's field `routing` asks of routing."""
    return routing.options if isinstance(routing, RoutingOptions) else Options()
