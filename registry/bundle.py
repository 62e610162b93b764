"""One file that holds a version whole: its card, its config and its weights, in a tar archive.

Equal versions give equal files, and a version that is registered from its bundle has its digest.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from registry.errors import InvalidInput
from registry.files import CONFIG, WEIGHTS
from registry.limits import MAX_CARD_BYTES, Limits

CARD = "card.json"
NAMES = (CARD, CONFIG, WEIGHTS)


def pack(card: bytes, config: Path, weights: Path, into: IO[bytes]) -> None:
    """Write a bundle.

    Raises:
        OSError: a file cannot be read or written.
    """
    with tarfile.open(fileobj=into, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in ((CARD, card), (CONFIG, config.read_bytes())):
            tar.addfile(_member(name, len(content)), io.BytesIO(content))
        with weights.open("rb") as opened:
            tar.addfile(_member(WEIGHTS, weights.stat().st_size), opened)


def unpack(bundle: Path, folder: Path, limits: Limits) -> None:
    """Put a bundle's three files into a folder; nothing else in it is looked at.

    Raises:
        InvalidInput: it is no bundle.
        OSError: the folder cannot be written.
    """
    largest = {CARD: MAX_CARD_BYTES, CONFIG: limits.max_config_bytes, WEIGHTS: limits.max_bytes}
    found = set()
    try:
        with tarfile.open(bundle, "r:") as tar:
            for member, content in _members(tar):
                if member.size > largest[member.name]:
                    raise _refusal(f"{member.name} is over {largest[member.name]:,} bytes")
                with (folder / member.name).open("wb") as opened:
                    while piece := content.read(1 << 20):
                        opened.write(piece)
                found.add(member.name)
    except (tarfile.TarError, UnicodeError) as error:
        raise _refusal(f"it cannot be read ({error})") from None
    if missing := [name for name in NAMES if name not in found]:
        raise _refusal(f"it has no {missing[0]}")


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member) if member.isreg() else None
        if content is None or member.name not in NAMES:
            raise _refusal(f"it holds {member.name[:80]!a}, which no bundle does")
        yield member, content


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A regular file without an owner or a time, so that nothing but the content matters."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _refusal(message: str) -> InvalidInput:
    return InvalidInput(f"This is no bundle: {message}.", "bundle", "invalid_bundle")
