"""The errors of this package.

DeployError
├── InvalidSetting   an environment variable has a value that cannot be used
├── AlreadyRunning   another `myriad up` serves this home
├── PortTaken        something else listens where we should
├── StartFailed      the cluster did not become ready
├── ServerUnreachable  no Myriad answers at the URL
├── ServerRefused    Myriad answered with an error
├── Unfinished       a job or a batch that was followed did not come to its end
└── EngineLost       a replica ended while it answered
"""


class DeployError(Exception):
    """Root of this package's errors; the message says how to mend it."""


class InvalidSetting(DeployError):
    """An environment variable has a value that cannot be used."""


class AlreadyRunning(DeployError):
    """Another `myriad up` serves this home."""


class PortTaken(DeployError):
    """Something else listens where we should."""


class StartFailed(DeployError):
    """The cluster did not become ready."""


class ServerUnreachable(DeployError):
    """No Myriad answers at the URL."""


class ServerRefused(DeployError):
    """Myriad answered with an error.

    Args:
        status: the HTTP status.
        message: what the server said.
        code: OpenAI's error code, if any.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unfinished(DeployError):
    """A job or a batch that was followed did not come to its end."""

    def __init__(self, identity: str, status: str) -> None:
        super().__init__(f"{identity} {'was ' if status == 'cancelled' else ''}{status}")


class EngineLost(DeployError):
    """A replica ended while it answered."""
