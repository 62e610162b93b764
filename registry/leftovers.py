"""What killed writers left of what is written beside its place, and renamed when it is whole."""

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

DRAFT = ".draft-"
"""How the names of drafts begin."""
DEAD_SECONDS = 600.0
"""Whoever has not written for so long never will again."""


def forget_leftovers(folder: Path, pattern: str) -> None:
    """Remove drafts in a folder that nobody writes any more; what cannot be removed stays."""
    for draft in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - _written(draft) > DEAD_SECONDS:
                logger.warning("%s was left by a process that was killed, and goes", draft)
                _remove(draft)


def _written(draft: Path) -> float:
    """When anything of it was written last, in Unix seconds."""
    return max(each.lstat().st_mtime for each in (draft, *draft.rglob("*")))


def _remove(draft: Path) -> None:
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft)
    else:
        draft.unlink()
