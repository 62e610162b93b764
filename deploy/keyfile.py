"""API keys that the commands send: by server, in one file of the home that nobody else may read."""

import json
import stat
from pathlib import Path

from deploy.errors import InvalidSetting
from registry.private import OTHERS, make_home, private_file

KEYS = "api-keys.json"


def saved_key(home: Path, url: str) -> str | None:
    """The key that was saved for the server at `url`.

    Raises:
        InvalidSetting: others can read the file, or it cannot be read itself.
    """
    return _read(home / KEYS).get(url)


def save_key(home: Path, url: str, key: str) -> Path:
    """Keep a key for the server at `url`; returns the file.

    Raises:
        InvalidSetting: others can read the file, or it cannot be read itself.
        StorageError: the home cannot be made.
    """
    file = home / KEYS
    kept = _read(file) | {url: key}
    make_home(home)
    draft = file.with_suffix(".draft")
    private_file(draft)
    draft.write_text(json.dumps(kept, indent=1) + "\n")
    draft.replace(file)
    return file


def _read(file: Path) -> dict[str, str]:
    try:
        if stat.S_IMODE(file.stat().st_mode) & OTHERS:
            raise InvalidSetting(f"others can read {file}, and the keys in it: run chmod 600 on it")
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"{file} cannot be read ({error}): remove it") from error
    if not isinstance(found, dict):
        raise InvalidSetting(f"{file} holds no keys by server: remove it")
    return {str(url): str(key) for url, key in found.items()}
