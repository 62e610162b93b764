import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hashed import HashedWords
from patience import HANGS
from scripted import ScriptedEngine
from served import FRENCH, open_registry, register

from registry.errors import StorageError
from registry.registry import Registry
from router.routing.follower import Follower
from router.routing.general import base_requests
from router.routing.index import score
from router.service import Service


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    yield opened
    opened.close()


def names(follower: Follower) -> list[str]:
    assert follower.snapshot is not None
    return [route.specialist for route in follower.snapshot.routes]


def test_there_is_no_snapshot_before_the_first_look(registry: Registry):
    assert Follower(registry, HashedWords()).snapshot is None


def test_starts_from_what_is_live_and_follows_changes(registry: Registry):
    register(registry, "ada/one")
    follower = Follower(registry, HashedWords())
    follower.refresh()
    assert names(follower) == ["ada/one"]
    register(registry, "ada/two", seed=1)
    registry.retire("ada/one")
    follower.refresh()
    assert names(follower) == ["ada/two"]
    assert follower.snapshot.generation == registry.generation()


def test_reads_every_page_of_a_large_registry(registry: Registry, monkeypatch):
    for number in range(5):
        register(registry, f"ada/n{number}", seed=number)
    read, changed = registry.live, registry.changes
    monkeypatch.setattr(registry, "live", lambda after="": read(after, 2))
    monkeypatch.setattr(registry, "changes", lambda after: changed(after, 2))
    follower = Follower(registry, HashedWords())
    follower.refresh()
    assert len(names(follower)) == 5
    for number in range(5):
        registry.retire(f"ada/n{number}")
    follower.refresh()
    assert names(follower) == []


def test_a_snapshot_is_kept_as_it_was_while_nothing_changes(registry: Registry):
    register(registry)
    follower = Follower(registry, HashedWords())
    follower.refresh()
    before = follower.snapshot
    follower.refresh()
    assert follower.snapshot is before


def test_a_new_version_replaces_the_old_one_and_only_new_texts_are_encoded(registry: Registry):
    encoder = HashedWords()
    register(registry, examples=FRENCH)
    follower = Follower(registry, encoder)
    follower.refresh()
    encoder.encoded.clear()
    version = register(registry, examples=[*FRENCH, "bonjour"], seed=2)
    follower.refresh()
    [route] = follower.snapshot.routes
    assert (route.version, route.digest) == (2, version.digest)
    assert route.vectors.shape[0] == 5
    assert encoder.encoded == ["bonjour"]


def test_a_card_without_examples_is_found_by_its_description(registry: Registry):
    encoder = HashedWords()
    register(registry, description="Writes limericks.")
    Follower(registry, encoder).refresh()
    assert "Writes limericks." in encoder.encoded


def test_the_bases_examples_are_read_once_before_the_first_snapshot(registry: Registry):
    encoder = HashedWords()
    follower = Follower(registry, encoder)
    follower.refresh()
    first = follower.snapshot
    assert encoder.encoded == base_requests()
    assert score(first.general, encoder.encode([encoder.encoded[0]])[0]) > 0.2
    register(registry)
    follower.refresh()
    assert follower.snapshot.general is first.general


def test_a_registry_that_cannot_be_read_costs_no_encoding(registry: Registry, monkeypatch):
    def fail(after: str = ""):
        raise StorageError("gone")

    encoder = HashedWords()
    monkeypatch.setattr(registry, "live", fail)
    with pytest.raises(StorageError):
        Follower(registry, encoder).refresh()
    assert encoder.encoded == []


def test_the_services_cache_spares_the_next_start_the_encoding(registry: Registry, tmp_path: Path):
    first, second = HashedWords(), HashedWords()
    for encoder in (first, second):
        cached = Service(registry, ScriptedEngine(), encoder, "tiny", cache=tmp_path / "cache")
        cached.follower.refresh()
    assert (first.encoded, second.encoded) == (base_requests(), [])


def test_the_thread_survives_a_storage_error_and_says_so(registry, monkeypatch, caplog):
    follower, failed, read = Follower(registry, HashedWords(), interval=0.001), [], registry.live
    done = threading.Event()

    def live(after: str = ""):
        if len(failed) < 6:
            failed.append(
                StorageError("the disk is away") if len(failed) < 5 else ValueError("odd")
            )
            raise failed[-1]
        done.set()
        return read(after)

    monkeypatch.setattr(registry, "live", live)
    register(registry, "ada/one")
    with caplog.at_level(logging.WARNING):
        follower.start()
        assert done.wait(HANGS)
        follower.stop()
    assert names(follower) == ["ada/one"]
    # Not at every look.
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "the disk is away" in caplog.text


def test_what_another_process_registers_is_found_by_polling(registry: Registry, tmp_path: Path):
    seen = threading.Event()

    class Watched(HashedWords):
        def encode(self, texts: list[str]) -> np.ndarray:
            if "bonjour" in texts:
                seen.set()
            return super().encode(texts)

    service = Service(registry, ScriptedEngine(), Watched(), "tiny", interval=0.001)
    asyncio.run(service.start())
    elsewhere = open_registry(tmp_path)
    register(elsewhere, "ada/two", examples=["bonjour"])
    assert seen.wait(HANGS)
    asyncio.run(service.stop())  # waits for the refresh that is under way
    assert names(service.follower) == ["ada/two"]
    elsewhere.close()


def test_refresh_passes_storage_errors_on(registry: Registry, monkeypatch):
    def fail() -> int:
        raise StorageError("gone")

    monkeypatch.setattr(registry, "generation", fail)
    with pytest.raises(StorageError):
        Follower(registry, HashedWords()).refresh()


def test_a_start_waits_for_its_first_routes_but_not_for_ever(registry: Registry):
    register(registry, "ada/one")
    patient = Service(registry, ScriptedEngine(), HashedWords(), "tiny")
    asyncio.run(patient.start(patience=HANGS))
    assert names(patient.follower) == ["ada/one"]
    asyncio.run(patient.stop())
    assert not Follower(registry, HashedWords()).wait(0.01)


def test_stopping_before_starting_is_no_error(registry: Registry):
    Follower(registry, HashedWords()).stop()


def damage(home: Path, digest: str) -> None:
    """A card that an older release accepted and this one does not understand."""
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        stored = '{"id": "ada/old", "description": "", "colour": "red"}'
        database.execute("UPDATE versions SET card = ? WHERE digest = ?", (stored, digest))


def test_a_card_that_is_not_understood_costs_itself_only(registry, tmp_path, caplog):
    register(registry, "ada/one")
    damage(tmp_path, register(registry, "ada/old", seed=1).digest)
    follower = Follower(registry, HashedWords())
    follower.refresh()
    assert names(follower) == ["ada/one"]
    assert list(follower.skipped) == ["ada/old"]
    assert "ada/old" in caplog.text
    register(registry, "ada/two", seed=2)
    follower.refresh()
    assert names(follower) == ["ada/one", "ada/two"]
    registry.retire("ada/old")
    follower.refresh()
    assert follower.skipped == {}


def test_an_example_that_the_encoder_cannot_read_costs_its_version_only(registry):
    class Picky(HashedWords):
        def encode(self, texts: list[str]) -> np.ndarray:
            if "boom" in texts:
                raise IndexError("no such token")
            return super().encode(texts)

    register(registry, "ada/one")
    register(registry, "ada/bad", seed=1, examples=["boom"])
    follower = Follower(registry, Picky())
    follower.refresh()
    assert (names(follower), follower.skipped) == (["ada/one"], {"ada/bad": "no such token"})
    register(registry, "ada/bad", seed=1, examples=["fine"])
    follower.refresh()
    assert (names(follower), follower.skipped) == (["ada/bad", "ada/one"], {})


def test_a_second_start_encodes_nothing_and_reads_no_card(registry, tmp_path, monkeypatch):
    for number in range(3):
        register(registry, f"ada/n{number}", seed=number, examples=[f"text {number}"])
    Follower(registry, HashedWords(), cache=tmp_path / "cache").refresh()
    monkeypatch.setattr(registry, "card", None)
    encoder = HashedWords()
    again = Follower(registry, encoder, cache=tmp_path / "cache")
    again.refresh()
    assert len(names(again)) == 3
    assert encoder.encoded == []
    assert (again.reading.done, again.reading.of) == (3, 3)


def test_a_burst_of_registrations_encodes_and_reads_each_once(registry, monkeypatch):
    follower = Follower(registry, HashedWords())
    follower.refresh()
    cards, card = [], registry.card
    monkeypatch.setattr(registry, "card", lambda digest: cards.append(digest) or card(digest))
    for number in range(50):
        register(registry, f"ada/n{number}", seed=number)
        follower.refresh()
    assert len(names(follower)) == 50
    assert len(cards) == len(set(cards)) == 50
