"""What can go wrong in the registry.

    RegistryError
    ├── UnknownSpecialist     nothing is registered under this reference
    ├── UnknownAnswer         no version gave an answer of this id
    ├── UnknownKey            there is no API key of this id
    ├── UnknownObject         there is no file or job of this id
    ├── InvalidInput          what the caller sent cannot be used; the message says how to mend it
    │   ├── InvalidReference
    │   ├── InvalidCard
    │   └── InvalidAdapter
    ├── NotOwned              somebody else's specialists are not theirs to change
    ├── QuotaExceeded         the key may not be used for more
    ├── Conflict              what was asked for no longer fits what is there
    ├── Lost                  a job is no longer its holder's
    ├── UnreadableCard        a stored card that this release cannot read
    ├── UnsupportedBase       the base model's folder is missing or of another architecture
    ├── BaseChanged           a base's name stands for other weights than before
    └── StorageError          the disk or the database failed; nothing was registered
        └── StoreFailed       the files' store cannot be asked at the moment

Every error survives pickling, because they travel between the cluster's processes.
"""

from collections.abc import Sequence


class RegistryError(Exception):
    """Anything that the registry refuses or fails to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UnknownSpecialist(RegistryError):
    """Nothing is registered under `reference`; `nearest` are up to three ids that are."""

    def __init__(self, reference: str, nearest: Sequence[str] = ()) -> None:
        self.reference = reference
        self.nearest = list(nearest)
        hint = f" The nearest names: {', '.join(self.nearest)}." if self.nearest else ""
        super().__init__(f"There is no specialist '{reference}'.{hint}")
        self.args = (reference, self.nearest)


class UnknownAnswer(RegistryError):
    """No version that is registered here gave an answer of this id."""

    def __init__(self, answer: str) -> None:
        super().__init__(
            f"No specialist here gave an answer {answer[:100]!a}; send an answer's id as it is. "
            "What the base answers has no specialist to rate."
        )
        self.args = (answer,)


class UnknownKey(RegistryError):
    """There is no API key of this id."""

    def __init__(self, identity: str) -> None:
        super().__init__(f"There is no key {identity[:64]!a}.")
        self.args = (identity,)


class UnknownObject(RegistryError):
    """There is no object of this `kind` (`file`, `job`, `batch`) and id, or it is another's."""

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"There is no {kind} {identity[:64]!a}.")
        self.kind = kind
        self.args = (kind, identity)


class InvalidInput(RegistryError):
    """The caller sent something unusable. `param` names it, `code` is for programs."""

    def __init__(self, message: str, param: str | None, code: str) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.args = (message, param, code)


class InvalidReference(InvalidInput):
    """A text that is no reference."""

    def __init__(self, message: str, param: str = "model") -> None:
        super().__init__(message, param, "invalid_reference")
        self.args = (message, param)


class InvalidCard(InvalidInput):
    """A card that cannot be read; `field` names the part at fault, if one does."""

    def __init__(self, message: str, field: str | None = None) -> None:
        at = f"card.{field}" if field else "card"
        super().__init__(f"{at}: {message}", at, "invalid_card")
        self.field = field
        self.args = (message, field)


class InvalidAdapter(InvalidInput):
    """An adapter that cannot be served; `file` and, where there is one, `tensor` are at fault."""

    def __init__(self, message: str, file: str, tensor: str | None = None) -> None:
        at = f"{file}: tensor '{tensor}'" if tensor is not None else file
        super().__init__(f"{at}: {message}", file, "invalid_adapter")
        self.file = file
        self.tensor = tensor
        self.args = (message, file, tensor)


class NotOwned(RegistryError):
    """Whoever asked may do that with what `owner` has, and with nothing else."""

    def __init__(self, specialist: str, owner: str) -> None:
        super().__init__(f"'{specialist}' is not yours: your key is for names under '{owner}/'.")
        self.args = (specialist, owner)


class QuotaExceeded(RegistryError):
    """A key's owner has as much of `what` as the key may register."""

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(
            f"The key's quota of {bound:,} {what} is used up; ask whoever runs the server for more."
        )
        self.args = (what, bound)


class Conflict(RegistryError):
    """The registry is not in the state that the caller took for granted; `code` is for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.args = (message, code)


class Lost(RegistryError):
    """The job or batch is no longer this holder's: it was ended, paused or given to another."""


class UnreadableCard(RegistryError):
    """A stored card is not one that this release understands; its specialist can be retired."""


class UnsupportedBase(RegistryError):
    """The folder holds no base model that adapters can be checked against."""


class BaseChanged(RegistryError):
    """Other weights stand behind the name of a base whose adapters are registered here."""

    def __init__(self, name: str, known: str, found: str) -> None:
        super().__init__(
            f"The base '{name}' has other weights ({found[:19]}…) than those that the specialists "
            f"here were made for ({known[:19]}…). Put the former weights back, give these another "
            "name (rename their folder), or set MYRIAD_HOME to another folder."
        )
        self.args = (name, known, found)


class StorageError(RegistryError):
    """The registry's own files could not be read or written."""


class StoreFailed(StorageError):
    """The files' store cannot be asked at the moment: it fails, refuses, or says nothing."""
