"""How much may be done with an API key."""

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Quota:
    """Bounds on a key's use; None is no bound.

    Attributes:
        requests_per_minute: requests to models.
        tokens_per_minute: tokens of prompts and answers.
        specialists: specialists of its owner, retired ones left out, beyond which it registers no
            new one.
        bytes: of all versions' files of its owner, beyond which it registers no other; apart from
            these, of the files that were sent to be trained on; and, apart from both, of the
            conversations that are kept, of which the oldest are forgotten beyond it.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    specialists: int | None = None
    bytes: int | None = None

    @property
    def set(self) -> dict[str, int]:
        """The bounds that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def written(self) -> str:
        """As the registry keeps it."""
        return json.dumps(self.set)


UNLIMITED = Quota()
NAMES = tuple(field.name for field in fields(Quota))


def read(text: str) -> Quota:
    """What `written` gave."""
    return Quota(**json.loads(text))
