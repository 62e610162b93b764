"""A base of one's own: where containers find it, and the memory that it takes."""

from pathlib import Path

from deploy.errors import InvalidSetting
from deploy.rendering.files import HOME
from specialists.base import EMBEDDED, fetched_base
from specialists.gguf_source import is_gguf
from specialists.hub import is_of_hub

HUB = f"{HOME}/huggingface"
"""Where containers keep what comes from a hub."""


def folder_of(base: str) -> str | None:
    """A base that is a folder; it need not be on this machine.

    Raises:
        InvalidSetting: it is a GGUF file, which a container would unpack each time it starts.
    """
    if is_gguf(base):
        raise InvalidSetting(
            f"MYRIAD_BASE={base} is a GGUF file: have `myriad setup` unpack it, and render with "
            "the folder that it becomes, under MYRIAD_HOME/base"
        )
    return None if base == EMBEDDED or is_of_hub(base) else base


def weights_mib(base: str) -> int:
    """MiB that a base's weights take as files; the embedded one counts as nothing.

    Raises:
        InvalidSetting: they are not on this machine.
    """
    if base == EMBEDDED:
        return 0
    held = _here(base)
    files = list(held.glob("*.safetensors")) if held else []
    if not files:
        raise InvalidSetting(
            f"MYRIAD_BASE={base} is not here, and pods must be given memory for it: say how much "
            "with --base-gib, or have it here (`myriad setup` fetches it from a hub)"
        )
    return sum(file.stat().st_size for file in files) >> 20


def _here(base: str) -> Path | None:
    if folder := folder_of(base):
        return Path(folder)
    fetched = fetched_base(base)
    return fetched.folder if fetched else None
