"""Requests that need no specialist: the base's own examples, by which it competes for answers."""

from importlib import resources


def general_requests() -> list[str]:
    """The requests that ship with the router, one per line of general.txt."""
    return resources.files("router.routing").joinpath("general.txt").read_text("utf-8").splitlines()
