"""The field `routing` of a request: what it asks of `auto`, or whether the answer says who."""

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from registry.card import folded
from router.routing.filters import Filters, Options
from router.wire.base import ONE_OR_MORE, Body, Share, Text, bounded

MOST_NAMES = 64
Name = Annotated[Text, Field(min_length=1, max_length=256), AfterValidator(folded)]
Names = Annotated[list[Name], bounded(MOST_NAMES, "names"), ONE_OR_MORE]


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


Routing = Annotated[
    Annotated[bool, Tag("(shown)")] | Annotated[RoutingOptions, Tag("(options)")],
    Discriminator(
        lambda value: {bool: "(shown)", dict: "(options)"}.get(type(value)),
        custom_error_type="invalid_type",
        custom_error_message="must be true, false, or an object of options",
    ),
]


def options_of(routing: bool | RoutingOptions) -> Options:
    """What a request's field `routing` asks of routing."""
    return routing.options if isinstance(routing, RoutingOptions) else Options()
