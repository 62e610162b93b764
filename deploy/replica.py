"""Which replica of its deployment a process is."""

from ray import serve


def replica_name() -> str:
    """The name that metrics and requests' ways know it by."""
    return str(serve.get_replica_context().replica_id.unique_id)
