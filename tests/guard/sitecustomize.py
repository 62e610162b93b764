"""No network but this machine: Python runs this at the start of every process that tests start.

The tests' own process installs the same guard. What is refused is an OSError, as an unplugged
machine would give, so that libraries which only look whether there is a network go on without one.
"""

import errno
import ipaddress
import socket
from functools import cache

ALLOWED_NAMES = {None, "", "localhost", socket.gethostname()}


class NetworkRefused(OSError):
    """Something reached for another machine."""

    def __init__(self, what):
        super().__init__(errno.ENETUNREACH, f"only loopback is allowed in tests, not {what!r}")


def is_loopback(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host in ALLOWED_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or is_own(address)


@cache
def is_own(address):
    """Whether the address is this machine's: only such can be bound. Ray names its node by one."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def guarded(method, place):
    """A socket's method that refuses other machines' addresses, which stand at `place`."""

    def call(self, *arguments):
        address = arguments[place] if arguments else None
        foreign = isinstance(address, tuple) and not is_loopback(address[0])
        if foreign and self.family != socket.AF_UNIX:
            raise NetworkRefused(address)
        return method(self, *arguments)

    return call


def install():
    for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name), place))
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if not is_loopback(host):
            raise socket.gaierror(socket.EAI_NONAME, str(NetworkRefused(host)))
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo


install()
