"""What lies in a home folder, opened."""

from deploy.settings import Settings
from registry.base import BaseSpec
from registry.registry import Registry
from specialists.base import Base


def open_registry(settings: Settings, base: Base) -> Registry:
    """The registry of the home, for the base that is served.

    Raises:
        UnsupportedBase: the base's folder cannot be read.
        BaseChanged: other weights stand behind the base's name than before.
        StorageError: the home cannot be used.
    """
    return Registry.open(settings.home, base_spec(settings, base))


def base_spec(settings: Settings, base: Base) -> BaseSpec:
    """What adapters of a base must fit; its digest is remembered in the home.

    Raises:
        UnsupportedBase: the base's folder cannot be read.
    """
    return BaseSpec.from_folder(base.folder, base.name, settings.home / "cache" / "digests.json")
