"""The request body of `POST /v1/route`."""

from typing import Self

from pydantic import Field, model_validator

from router.wire.base import Body, refused
from router.wire.chat import Messages
from router.wire.routing_options import RoutingOptions


class RouteRequest(Body):
    """A conversation (`messages`) or one text (`input`) to find a specialist for."""

    messages: Messages | None = None
    input: str | None = None
    routing: RoutingOptions = RoutingOptions()
    explain: bool = Field(False, description="Whether to show the examples that are nearest.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.messages is None) == (self.input is None):
            raise refused("invalid_value", "messages", "or 'input': send exactly one of the two")
        return self

    @property
    def turns(self) -> list[str]:
        """The texts of the user's messages, oldest first."""
        if self.input is not None:
            return [self.input]
        return [message.text for message in self.messages or () if message.role == "user"]
