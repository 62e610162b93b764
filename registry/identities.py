"""Ids of files and jobs, in the form of OpenAI's."""

import secrets
import string

_LETTERS = string.ascii_letters + string.digits
_LENGTH = 24


def new_id(prefix: str) -> str:
    """An id that nobody had before, such as `file-…`."""
    return f"{prefix}-{drawn(_LENGTH, _LETTERS)}"


def drawn(length: int, letters: str) -> str:
    """Letters that nobody can foresee."""
    return "".join(secrets.choice(letters) for _ in range(length))
