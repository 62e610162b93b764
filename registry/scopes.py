"""What an API key may be used for."""

from enum import StrEnum


class Scope(StrEnum):
    """One kind of use."""

    INFER = "infer"
    """Ask specialists and the base; say who would answer."""
    READ = "specialists:read"
    """List and show specialists, their aliases and their lineage."""
    WRITE = "specialists:write"
    """Register the owner's specialists."""
    DEPLOY = "specialists:deploy"
    """Say which versions are served and who finds them; retire and restore."""
    METRICS = "metrics"
    """Read the server's figures."""
    ADMIN = "admin"
    """All of it, for every owner; make and revoke keys."""
