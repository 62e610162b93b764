"""Folders of a hub, by `owner/name` or `owner/name@revision`, in huggingface_hub's cache."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specialists.errors import HubUnavailable
from specialists.progress import Progress, silent

BYTES = "huggingface_hub.snapshot_download"
"""The name of huggingface_hub's bar that counts bytes on disk."""
LOGGED_IN = "log in with `hf auth login`, or set HF_TOKEN"


def is_id(source: str) -> bool:
    """Whether this may name an owner's model on a hub: no path of several folders does."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@\S+)?", source) is not None


def is_of_hub(source: str) -> bool:
    """Whether a hub is asked for it: what is here under that name goes first."""
    return is_id(source) and not Path(source).exists()


def name_of(source: str) -> str:
    """What it is called by itself: without its owner and its revision."""
    return source.partition("@")[0].rpartition("/")[-1]


def kept(source: str, files: Sequence[str], without: Sequence[str] = ()) -> Path | None:
    """Where an earlier `fetch` of these has put them; others may have fetched a part of them."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return _snapshot(source, files, without, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def fetch(
    source: str,
    files: Sequence[str],
    progress: Progress = silent,
    without: Sequence[str] = (),
) -> Path:
    """Have what `source` names now; what is here already is not fetched again.

    Args:
        source: `owner/name`, or `owner/name@revision`, a branch, a tag or a commit.
        files: patterns of names.
        progress: told of MiB.
        without: patterns of those that are left.

    Raises:
        HubUnavailable: there is no such thing, it may not be had, or the hub cannot be reached.
    """
    try:
        return _snapshot(source, files, without, tqdm_class=_told(source, progress))
    except Exception as error:
        raise HubUnavailable(_mend(source, error)) from error


def _snapshot(source: str, files: Sequence[str], without: Sequence[str], **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    return Path(
        snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=list(files),
            ignore_patterns=list(without),
            **options,
        )
    )


def _told(source: str, progress: Progress) -> type:
    """The class of a bar that is not drawn: `progress` is told instead."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, name: str | None = None, **options: Any) -> None:
            super().__init__(*args, **options | {"disable": True})  # type: ignore[no-untyped-call]
            self._counts = name == BYTES

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                self.n += n or 0
                done, of = int(self.n) >> 20, int(self.total) >> 20
                if of:
                    progress(f"Fetching {source}, MiB", done, of)

    return Bar


def _mend(source: str, error: Exception) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return f"{source} is gated: accept its terms on its page, then {LOGGED_IN}"
        case errors.RepositoryNotFoundError():
            return f"the hub has no {source}, or not for everybody: {LOGGED_IN}"
        case errors.RevisionNotFoundError():
            return f"the hub has no such revision: {source}"
        case errors.HFValidationError():
            return f"{source!r} is no id of a hub, such as owner/name or owner/name@revision"
    reason = type(error.__cause__ or error).__name__
    return f"the hub cannot be reached for {source} ({reason})"
