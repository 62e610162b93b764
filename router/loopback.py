"""Which names of a host mean this machine alone."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host, by name or by address, is of this machine's loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
