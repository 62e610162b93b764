"""Which GGUF file a base is named by: one on this machine, or of a hub, as llama.cpp names it.

`owner/name:Q4_K_M` is the file of an owner's model that ends in `Q4_K_M.gguf`, in either case.
"""

import re
from pathlib import Path

from specialists import hub
from specialists.errors import BaseUnavailable, HubUnavailable
from specialists.progress import Progress

ENDING = ".gguf"


def is_gguf(source: str) -> bool:
    """Whether a base is named by a file that is to be unpacked."""
    return source.endswith(ENDING) or is_of_hub(source)


def is_of_hub(source: str) -> bool:
    """Whether a hub is asked for the file: what is here under that name goes first."""
    name, _, kind = source.rpartition(":")
    named = hub.is_id(name) and re.fullmatch(r"[\w.-]+", kind) is not None
    return named and not Path(source).exists()


def is_there(source: str) -> bool:
    """Whether there is such a file, or may be on a hub."""
    return is_of_hub(source) or (is_gguf(source) and kept(source) is not None)


def kept(source: str) -> Path | None:
    """The file, if it is here; nothing is asked of a hub."""
    if not is_of_hub(source):
        return Path(source) if Path(source).is_file() else None
    name, pattern = _asked(source)
    folder = hub.kept(name, [pattern])
    return _shortest(folder, pattern) if folder else None


def fetch(source: str, progress: Progress) -> Path:
    """The file, had from the hub if it is not here.

    Raises:
        BaseUnavailable: there is none.
    """
    if found := kept(source):
        return found
    if not is_of_hub(source):
        raise BaseUnavailable(f"there is no file {source}")
    name, pattern = _asked(source)
    try:
        found = _shortest(hub.fetch(name, [pattern], progress), pattern)
    except HubUnavailable as error:
        raise BaseUnavailable(str(error)) from error
    if found is None:
        raise BaseUnavailable(f"the hub has no whole file for {source}, only others or parts")
    return found


def _asked(source: str) -> tuple[str, str]:
    """The model's id, and the pattern of the file's name."""
    name, _, kind = source.rpartition(":")
    either = (f"[{each.lower()}{each.upper()}]" if each.isalpha() else each for each in kind)
    return name, f"*{''.join(either)}{ENDING}"


def _shortest(folder: Path, pattern: str) -> Path | None:
    # What ends in `Q8_0.gguf` may end in `UD-Q8_0.gguf`, which is another kind.
    return min(folder.rglob(pattern), key=lambda file: (len(file.name), file.name), default=None)
