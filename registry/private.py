"""Folders that only their owner may read."""

import os
import stat
from pathlib import Path

from registry.errors import StorageError

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> Path:
    """Make a folder for its owner alone, or close one of ours to others.

    Raises:
        StorageError: it cannot be made, or is somebody else's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_own(folder)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & OTHERS:
            folder.chmod(mode & ~OTHERS)
    except OSError as error:
        raise StorageError(f"Cannot create {folder}: {error.strerror}.") from error
    return folder


def make_home(home: Path) -> None:
    """Make a home folder for its owner alone; one that is there keeps its mode.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot create {home}: {error.strerror}.") from error


def require_own(folder: Path) -> None:
    """Refuse a folder that another user could have put there, or a link in its place.

    Raises:
        StorageError: it is not a folder of this user's.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageError(f"{folder} is not a folder of yours. Remove it, or use another place.")


def private_file(file: Path) -> None:
    """Make a file for its owner alone, empty when it was not there."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if stat.S_IMODE(file.stat().st_mode) & OTHERS:
        file.chmod(0o600)
