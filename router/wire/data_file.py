"""Files in the words of OpenAI's API: https://platform.openai.com/docs/api-reference/files."""

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
