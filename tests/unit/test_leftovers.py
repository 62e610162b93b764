"""Drafts of killed writers go, those of writers at work stay."""

import os

from gguf_files import write_gguf
from tiny import tiny_base

from registry.leftovers import DEAD_SECONDS, DRAFT, forget_leftovers
from specialists.base import prepare_base
from specialists.progress import silent


def made_old(*paths):
    for path in paths:
        os.utime(path, (0, 0))


def test_what_nobody_writes_any_more_goes(tmp_path):
    old, young, kept = (tmp_path / name for name in (".draft-a", ".draft-b", "base"))
    for folder in (old, young, kept):
        folder.mkdir()
        (folder / "weights").write_bytes(b"x")
        made_old(folder / "weights", folder)
    os.utime(young / "weights")
    file = tmp_path / ".draft-c"
    file.write_bytes(b"x")
    made_old(file)
    forget_leftovers(tmp_path, ".draft-*")
    assert sorted(tmp_path.iterdir()) == [young, kept]


def test_a_base_that_a_killed_process_began_to_unpack_goes(tmp_path):
    file = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "fox"))
    left = tmp_path / "base" / f"{DRAFT}x"
    left.mkdir(parents=True)
    made_old(left)
    made = prepare_base(str(file), tmp_path, silent)
    assert list(left.parent.iterdir()) == [made.folder]


def test_a_link_goes_and_not_what_it_leads_to(tmp_path):
    kept = tmp_path / "base"
    kept.mkdir()
    (kept / "weights").write_bytes(b"x")
    made_old(kept / "weights", kept)
    link = tmp_path / ".draft-a"
    link.symlink_to(kept)
    os.utime(link, (0, 0), follow_symlinks=False)
    forget_leftovers(tmp_path, ".draft-*")
    assert not link.is_symlink()
    assert (kept / "weights").exists()


def test_what_is_not_there_or_not_ours_stops_nobody(tmp_path, monkeypatch):
    forget_leftovers(tmp_path / "none", "*")
    (tmp_path / ".draft-a").write_bytes(b"x")
    made_old(tmp_path / ".draft-a")
    monkeypatch.setattr("pathlib.Path.unlink", _refuse)
    forget_leftovers(tmp_path, ".draft-*")
    assert (tmp_path / ".draft-a").exists()
    assert DEAD_SECONDS >= 60


def _refuse(*_args, **_more):
    raise PermissionError
