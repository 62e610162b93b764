"""What people think of answers, in the words of the API."""

from typing import Annotated

from pydantic import Field

from registry.rating import Rating
from registry.trials import MAX_CORRECTION
from router.wire.base import Body, Text


class FeedbackRequest(Body):
    """What somebody thinks of one answer."""

    id: Text = Field(description="The answer's id, such as `chatcmpl-…`.")
    rating: Rating = Field(strict=False)
    correction: Annotated[Text, Field(max_length=MAX_CORRECTION)] | None = Field(
        None, description="What it should have been."
    )
