"""The audit log in the words of the API."""

from typing import Any

from registry.audit import Entry


def shown(entry: Entry) -> dict[str, Any]:
    """One entry; `digest` is of it and of all before it."""
    return {
        "seq": entry.seq,
        "object": "audit_entry",
        "created": int(entry.created.timestamp()),
        "action": entry.action,
        "specialist": entry.specialist or None,
        "details": entry.details,
        "digest": entry.digest,
    }
