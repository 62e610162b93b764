"""What lies in a home folder, opened."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deploy.settings import Settings
from registry.base import BaseSpec
from registry.keys import Keys
from registry.location import Location
from registry.registry import Registry
from router.sampling import Sampling
from specialists.base import Base
from specialists.generation_config import generation_defaults


def open_registry(settings: Settings, base: Base) -> Registry:
    """The registry of the home, for the base that is served.

    Raises:
        UnsupportedBase: the base's folder cannot be read.
        BaseChanged: other weights stand behind the base's name than before.
        StorageError: the home cannot be used.
    """
    return Registry.open(settings.location, base_spec(settings, base))


@contextmanager
def opened_keys(place: Path | Location) -> Iterator[Keys]:
    """A registry's API keys, whatever base is served; changes are noted as made at the home.

    Raises:
        StorageError: the place cannot be used.
    """
    with closing(Location.of(place).open()) as database:
        yield Keys(database.by("home"))


def base_spec(settings: Settings, base: Base) -> BaseSpec:
    """What adapters of a base must fit; its digest is remembered in the home.

    Raises:
        UnsupportedBase: the base's folder cannot be read.
    """
    return BaseSpec.from_folder(base.folder, base.name, settings.home / "cache" / "digests.json")


def default_sampling(settings: Settings, base: Base) -> Sampling:
    """What requests and cards leave open: the base's own advice, then the settings."""
    advised = Sampling(**generation_defaults(base.folder))
    return advised.over(Sampling(**settings.sampling.model_dump()))
