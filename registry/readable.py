"""Texts that people are shown: bounded, not blank, and without control characters."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if CONTROL.search(text):
        raise ValueError("must not hold control characters")
    return text


Short = Annotated[str, Field(max_length=64), AfterValidator(_readable)]
Line = Annotated[str, Field(max_length=256), AfterValidator(_readable)]
Paragraph = Annotated[str, Field(max_length=2000), AfterValidator(_readable)]
Example = Annotated[str, Field(max_length=4000), AfterValidator(_readable)]
Long = Annotated[str, Field(max_length=16000), AfterValidator(_readable)]
