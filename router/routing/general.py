"""What ships with the router: requests that need no specialist, and messages that follow up."""

from importlib import resources

from router.routing.encoder import Vectors
from router.routing.probe import Probe, fit


def follow_ups() -> list[str]:
    """Messages that say nothing without the ones before them, one per line of followups.txt."""
    return _lines("followups.txt")


def general_requests() -> list[str]:
    """The requests that ship with the router, one per line of general.txt."""
    return _lines("general.txt")


def base_requests() -> list[str]:
    """What the base answers when nothing was said before: general requests, and follow-ups."""
    return [*general_requests(), *follow_ups()]


def follow_up_probe(bases: Vectors) -> Probe:
    """What tells messages that follow up from general requests.

    Args:
        bases: vectors of the `base_requests`, float32 [requests, dimensions].
    """
    general = len(general_requests())
    return Probe(*fit(bases[general:], bases[:general]), "")


def _lines(file: str) -> list[str]:
    return resources.files("router.routing").joinpath(file).read_text("utf-8").splitlines()
