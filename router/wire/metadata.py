"""Labels that askers put on what is kept for them, to find it again."""

from typing import Annotated

from fastapi import Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from router.wire.base import Text

Value = Annotated[Text, Field(max_length=512)]
MOST_METADATA, LONGEST_KEY = 16, 64


def _small(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > MOST_METADATA or any(len(key) > LONGEST_KEY for key in metadata):
        message = f"holds at most {MOST_METADATA} keys of at most {LONGEST_KEY} characters"
        raise PydanticCustomError("invalid_value", message)
    return metadata


Metadata = Annotated[dict[Text, Value], AfterValidator(_small)]


def wanted_metadata(request: Request) -> dict[str, str]:
    """What `metadata[key]=value` in a query asks for."""
    return {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
