"""Files in the words of OpenAI's API: https://platform.openai.com/docs/api-reference/files."""

from collections.abc import Sequence
from typing import Any

from registry.data_files import DataFile


def shown(file: DataFile) -> dict[str, Any]:
    """A file, without its content."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.nbytes,
        "created_at": int(file.created.timestamp()),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }


def page(found: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of objects that have ids, and whether there are more."""
    return {
        "object": "list",
        "data": list(found),
        "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None,
        "has_more": more,
    }
