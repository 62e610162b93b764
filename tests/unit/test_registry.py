import dataclasses
import os
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from operator import attrgetter

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from old_release import rewind
from tiny_adapter import BASE, Q_A, card, config, tensors, weights

from registry import moves, records
from registry.card import SamplingDefaults
from registry.cursor import decode, encode
from registry.database import Database
from registry.errors import (
    Conflict,
    InvalidAdapter,
    InvalidCard,
    InvalidInput,
    InvalidReference,
    StorageError,
    UnknownSpecialist,
    UnreadableCard,
)
from registry.reference import parse_id, parse_reference
from registry.registry import Head, Live, Registry
from registry.traits import Traits
from registry.view import View


def register(registry, name="ada/coach", seed=0, **fields):
    return registry.register(card(name, **fields), config(), weights(seed=seed))


def everything(registry):
    return registry.live(), registry.generation(), registry.changes(0)


def blobs(home):
    return sorted(path for path in (home / "blobs").rglob("*") if path.is_file())


def heads(*versions, since=None):
    """What routing is told of these versions."""
    return [
        Live(
            each.id,
            each.number,
            each.digest,
            each.created,
            since or each.created,
            each.visibility,
            Traits.of(each.card),
        )
        for each in versions
    ]


def pointing(registry, specialist="ada/coach"):
    return {alias.name: alias.number for alias in registry.aliases.of(specialist)}


def ids(versions):
    return [version.id for version in versions]


def test_a_new_home_is_empty(registry):
    assert everything(registry) == ([], 0, [])
    assert registry.search(None, None, None, 10).data == []


def test_a_registered_version_is_described_and_has_its_files(registry):
    version, created = register(registry, tags=["work"])
    assert created
    assert (version.id, version.number, version.kind) == ("ada/coach", 1, "lora")
    assert version.card == card(tags=["work"])
    assert datetime.now(UTC) - version.created < timedelta(minutes=1)
    assert version.files.weights.read_bytes() == weights()
    assert b'"target_modules":["self_attn.q_proj"]' in version.files.config.read_bytes()
    assert registry.files(version.digest) == version.files
    assert registry.get("ada/coach") == version


def test_the_same_content_is_the_same_version_and_writes_nothing(registry, home):
    version, _ = register(registry)
    before = everything(registry), blobs(home)
    spelt_otherwise = config(lora_alpha=8.0, base_model_name_or_path="elsewhere")
    assert registry.register(card(), spelt_otherwise, weights()) == (version, False)
    assert (everything(registry), blobs(home)) == before


def test_new_content_is_the_next_version_and_goes_live(registry):
    first, _ = register(registry)
    second, created = register(registry, seed=1)
    third, _ = register(registry, seed=1, description="Said better.")
    assert created
    assert [first.number, second.number, third.number] == [1, 2, 3]
    history = [
        Head(each.number, each.digest, each.kind, each.created) for each in (first, second, third)
    ]
    assert registry.versions("ada/coach") == history
    assert registry.versions("ada/coach", limit=2) == history[1:]
    assert registry.get("ada/coach") == third
    assert pointing(registry) == {"prod": 3}
    assert second.files.weights == third.files.weights


def test_a_late_retry_of_an_upload_moves_nothing(registry):
    first, _ = register(registry)
    second, _ = register(registry, seed=1)
    assert register(registry) == (first, False)
    assert registry.get("ada/coach") == second
    assert registry.generation() == 2
    registry.retire("ada/coach")
    assert register(registry) == (first, False)
    assert registry.live() == []


def test_an_alias_that_is_asked_for_moves(registry):
    first, _ = register(registry)
    second, _ = registry.register(card("ada/coach"), config(), weights(seed=1), "candidate")
    assert registry.get("ada/coach") == first
    assert pointing(registry) == {"candidate": 2, "prod": 1}
    assert registry.aliases.pointing(second.digest) == ["candidate"]
    again = registry.register(card("ada/coach"), config(), weights(seed=1), "prod")
    assert again == (second, False)
    assert registry.aliases.pointing(second.digest) == ["candidate", "prod"]
    for nonsense in ("", "Prod", "a/b", "@x", "a:b", "latest"):
        with pytest.raises(InvalidReference):
            registry.register(card("ada/coach"), config(), weights(), nonsense)


def test_a_version_is_found_by_number_and_the_newest_as_latest(registry):
    first, _ = register(registry)
    second, _ = registry.register(card("ada/coach"), config(), weights(seed=1), "candidate")

    def found(text):
        return registry.resolve(parse_reference(text))

    assert found("ada/coach@1") == first == found("ada/coach")
    assert found("ada/coach@2") == second == found("ada/coach:latest")
    with pytest.raises(UnknownSpecialist) as caught:
        found("ada/coach@3")
    assert caught.value.nearest == ["ada/coach", "ada/coach:candidate"]
    registry.retire("ada/coach")
    for text in ("ada/coach@1", "ada/coach:latest"):
        with pytest.raises(UnknownSpecialist):
            found(text)


@pytest.mark.parametrize(
    "text", ["Ada/Coach", "ADA/COACH:prod", " ada/coach@7", "ada/choach", "ada/"]
)
def test_a_name_of_any_spelling_is_near_to_one(registry, text):
    register(registry)
    assert registry.nearest(text)[0] == "ada/coach"


def test_a_card_made_for_other_weights_of_the_same_name_is_refused(registry):
    assert register(registry, base_digest=BASE.digest)[1]
    with pytest.raises(InvalidCard, match="base_digest"):
        register(registry, base_digest="sha256:" + "0" * 64)
    with pytest.raises(InvalidCard, match="base_digest"):
        register(registry, base_digest="sha256:no")


def test_a_versions_files_are_found_while_the_database_is_away(registry, home, monkeypatch):
    version, _ = register(registry)
    with monkeypatch.context() as away:
        away.setattr(Database, "read", _away)
        assert registry.files(version.digest) == version.files
        with pytest.raises(StorageError, match="away"):
            registry.files("sha256:" + "0" * 64)


def _away(self):
    raise StorageError("away")


def test_the_version_of_an_older_release_is_found_too_once_it_was_read(registry, monkeypatch):
    version, _ = register(registry)
    manifest = registry._blobs.path(version.digest)
    content = manifest.read_bytes()
    for before in (None, b"damaged"):
        manifest.unlink()
        if before is not None:
            manifest.write_bytes(before)
        assert registry.files(version.digest) == version.files
        assert manifest.read_bytes() == content


def test_no_other_file_passes_for_a_manifest(registry):
    version, _ = register(registry)
    for other in (version.files.config.name, registry._blobs.put(b"[]"), registry._blobs.put(b"0")):
        with pytest.raises(UnknownSpecialist):
            registry.files(f"sha256:{other.removeprefix('sha256:')}")


def test_a_damaged_file_is_refused_by_name_and_mended_by_registering_it_again(registry):
    version, _ = register(registry)
    whole = version.files.weights.read_bytes()
    version.files.weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StorageError, match=f"sha256:{version.files.weights.name} is damaged"):
        registry.files(version.digest)
    assert register(registry) == (version, False)
    assert registry.files(version.digest) == version.files
    assert version.files.weights.read_bytes() == whole


@pytest.mark.sqlite
def test_what_the_registry_holds_is_closed_to_others(home):
    before = os.umask(0)
    try:
        opened = Registry.open(home, BASE)
        register(opened)
        opened.close()
    finally:
        os.umask(before)
    for path in (home, home / "blobs", home / "registry.db", home / "registry.lock"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.sqlite
def test_files_that_an_older_release_left_open_are_closed(home):
    Registry.open(home, BASE).close()
    (home / "blobs").chmod(0o755)
    (home / "registry.db").chmod(0o644)
    Registry.open(home, BASE).close()
    for path in (home / "blobs", home / "registry.db"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_reference_means_one_version(registry):
    first, _ = register(registry)
    second, _ = register(registry, seed=1)
    for text, version in {
        "ada/coach": second,
        "ada/coach:prod": second,
        f"ada/coach@{second.digest}": second,
        f"ada/coach@{first.digest}": first,
    }.items():
        assert registry.resolve(parse_reference(text)) == version


@pytest.mark.parametrize(
    "text", ["ada/other", "bob/coach", "ada/coach:candidate", "ada/coach@sha256:" + "0" * 64]
)
def test_an_unknown_reference_is_refused_with_the_nearest_names(registry, text):
    register(registry)
    with pytest.raises(UnknownSpecialist) as caught:
        registry.resolve(parse_reference(text))
    assert caught.value.reference == text
    assert caught.value.nearest == ["ada/coach"]


def test_a_digest_belongs_to_its_specialist(registry):
    register(registry)
    other, _ = register(registry, "bob/coach")
    with pytest.raises(UnknownSpecialist):
        registry.resolve(parse_reference(f"ada/coach@{other.digest}"))


def test_the_nearest_names_are_three_and_live(registry):
    for name in ("coach", "coach2", "coaches", "coach-er", "zebra"):
        register(registry, f"ada/{name}")
    registry.retire("ada/coach")
    with pytest.raises(UnknownSpecialist) as caught:
        registry.get("ada/coach")
    assert sorted(caught.value.nearest) == ["ada/coach-er", "ada/coach2", "ada/coaches"]
    with pytest.raises(UnknownSpecialist) as caught:
        registry.get("ada/qqqqqqq")
    assert 0 < len(caught.value.nearest) <= 3


def test_the_nearest_name_is_found_among_many(registry):
    filler = [card(f"{owner}{n}/thing{n}") for owner in ("aaa", "compute") for n in range(150)]
    with registry._database.write() as connection:
        for each in [*filler, card("company/support-json")]:
            records.register(connection, each, manifest_of(each), records.Wanted(), View(BASE.name))
    for typo in ("company/support-jsn", "compny/support-json", "c0mpany/suport"):
        with pytest.raises(UnknownSpecialist) as caught:
            registry.get(typo)
        assert caught.value.nearest[0] == "company/support-json"


def manifest_of(card):
    return records.Manifest("lora", BASE.name, BASE.digest, "sha256:a", "sha256:b", card.id)


@pytest.mark.parametrize("call", ["get", "versions", "aliases.of", "retire"])
def test_by_id_only(registry, call):
    with pytest.raises(InvalidReference):
        attrgetter(call)(registry)("ada/coach:prod")
    with pytest.raises(UnknownSpecialist):
        attrgetter(call)(registry)("ada/coach")


def test_a_retired_specialist_is_gone_but_for_requests_in_flight(registry):
    version, _ = register(registry, tags=["work"])
    registry.retire("ada/coach")
    for text in ("ada/coach", "ada/coach:prod", f"ada/coach@{version.digest}"):
        with pytest.raises(UnknownSpecialist):
            registry.resolve(parse_reference(text))
    for call in (registry.versions, registry.aliases.of, registry.retire):
        with pytest.raises(UnknownSpecialist):
            call("ada/coach")
    assert registry.live() == registry.search("coach", "work", None, 10).data == []
    assert registry.files(version.digest) == version.files
    assert version.files.weights.exists()


def test_a_name_registered_again_goes_on_numbering(registry):
    first, _ = register(registry)
    registry.retire("ada/coach")
    second, created = register(registry, seed=1)
    assert (second.number, created) == (2, True)
    registry.retire("ada/coach")
    again = registry.register(card("ada/coach"), config(), weights(), "prod")
    assert again == (first, False)
    assert registry.get("ada/coach") == first


def test_what_was_retired_is_restored_as_it_was(registry):
    first, _ = register(registry)
    registry.register(card("ada/coach"), config(), weights(seed=1), "candidate")
    registry.aliases.promote("ada/coach@1", protected=True)
    registry.aliases.try_out("ada/coach@2", 0.5)
    before, generation = registry.live(), registry.generation()
    registry.retire("ada/coach")
    assert (registry.live(), registry.aliases.pointing(first.digest)) == ([], [])
    registry.restore("ada/coach")
    registry.restore("ada/coach")
    assert registry.generation() == generation + 2
    assert registry.live() == before
    assert [change.live for change in registry.changes(generation)] == before * 2
    assert pointing(registry) == {"candidate": 2, "prod": 1}
    with pytest.raises(Conflict, match="protected"):
        registry.aliases.promote("ada/coach@2")


def test_what_was_never_there_cannot_be_restored(registry):
    for text, error in (("ada/coach", UnknownSpecialist), ("ada/coach@1", InvalidReference)):
        with pytest.raises(error):
            registry.restore(text)
    assert registry.generation() == 0


def test_a_specialist_without_a_version_in_service_is_there_by_its_aliases(registry):
    version, _ = registry.register(card("ada/coach"), config(), weights(), "candidate")
    assert registry.live() == registry.search(None, None, None, 10).data == []
    for text in ("ada/coach:candidate", "ada/coach:latest", "ada/coach@1"):
        assert registry.resolve(parse_reference(text)) == version
    with pytest.raises(UnknownSpecialist) as caught:
        registry.get("ada/coach")
    assert caught.value.nearest == ["ada/coach:candidate"]
    assert [head.number for head in registry.versions("ada/coach")] == [1]
    registry.aliases.promote("ada/coach:candidate", expected=0)
    assert registry.get("ada/coach") == version
    assert ids(registry.live()) == ["ada/coach"]


def test_changes_are_in_order_and_tell_what_is_live_now(registry):
    first, _ = register(registry)
    register(registry, "bob/bot")
    newest, _ = register(registry, seed=1)
    registry.retire("bob/bot")
    [newest] = heads(newest, since=first.created)
    changes = registry.changes(0)
    assert [change.seq for change in changes] == [1, 2, 3, 4]
    assert ids(changes) == ["ada/coach", "bob/bot", "ada/coach", "bob/bot"]
    assert [change.live for change in changes] == [newest, None, newest, None]
    assert registry.changes(2) == changes[2:]
    assert registry.changes(1, limit=2) == changes[1:3]
    assert registry.changes(4) == []
    assert registry.generation() == 4


def test_live_pages_cover_every_live_specialist_once(registry):
    expected = [register(registry, f"ada/s{n}", seed=n)[0] for n in range(7)]
    registry.retire("ada/s3")
    del expected[3]
    seen, after = [], ""
    while page := registry.live(after, limit=2):
        assert len(page) <= 2
        seen, after = seen + page, page[-1].id
    assert seen == heads(*expected) == registry.live()
    assert registry.count() == 6


def test_a_name_is_found_whoever_owns_it(registry):
    for owner in ("ada", "bob", "eve"):
        register(registry, f"{owner}/coach")
    register(registry, "ada/coachman")
    registry.retire("bob/coach")
    assert registry.named("coach", 5) == ["ada/coach", "eve/coach"]
    assert registry.named("coach", 1) == ["ada/coach"]


@pytest.mark.sqlite
def test_a_stored_card_of_another_release_is_shown_bare_and_can_be_retired(registry, home):
    version, _ = register(registry, tags=["work"])
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        database.execute('UPDATE versions SET card = \'{"colour": "red"}\'')
    [found] = registry.search(None, None, None, 10).data
    assert (found.id, found.digest, found.card.tags) == ("ada/coach", version.digest, ())
    assert found.problem == "card.id is missing; add it"
    assert [each.digest for each in registry.versions("ada/coach")] == [version.digest]
    assert registry.live() == heads(version)
    with pytest.raises(UnreadableCard, match="is missing"):
        registry.card(version.digest)
    registry.retire("ada/coach")
    assert registry.live() == []


def test_a_card_is_read_by_digest(registry):
    version, _ = register(registry, examples=["How?"])
    registry.retire("ada/coach")
    assert registry.card(version.digest) == version.card
    with pytest.raises(UnknownSpecialist):
        registry.card("sha256:" + "0" * 64)


def test_search_pages_cover_every_match_once(registry):
    for n in range(5):
        register(registry, f"ada/s{n}")
    pages, cursor = [], None
    while cursor is not None or not pages:
        page = registry.search(None, None, cursor, 2)
        pages.append(ids(page.data))
        cursor = page.next_cursor
    assert pages == [["ada/s4", "ada/s3"], ["ada/s2", "ada/s1"], ["ada/s0"]]
    assert registry.search(None, None, None, 5).next_cursor is None


def test_search_by_text_and_tag(registry):
    register(registry, "ada/coach", description="Rehearses SALARY talks", tags=["Work", "hr"])
    register(registry, "bob/json", description="100% of_messages in Straße", tags=["work"])

    def found(text, tag=None):
        return ids(registry.search(text, tag, None, 10).data)

    assert found("salary") == found("Talks REHEARSES") == found("ada/") == ["ada/coach"]
    assert found("STRASSE") == found("100%") == found("of_m") == ["bob/json"]
    assert found("0_o") == found("%s") == found("salary json") == found("/j%") == []
    assert found("hr") == ["ada/coach"]
    assert found(None, "work") == found("", "WORK") == ["bob/json", "ada/coach"]
    assert found("json", "work") == ["bob/json"]
    assert found(None, "wor") == found("json", "hr") == []


def test_a_tag_is_that_of_the_live_version(registry):
    register(registry, tags=["old"])
    register(registry, tags=["new"])
    assert registry.search(None, "old", None, 10).data == []
    assert ids(registry.search(None, "new", None, 10).data) == ["ada/coach"]


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        (("x" * 201, None, None, 10), "search"),
        ((None, None, "***", 10), "cursor"),
        ((None, None, "", 10), "cursor"),
        ((None, None, encode("no id"), 10), "cursor"),
        ((None, None, "\u00e9", 10), "cursor"),
        ((None, None, None, 0), "limit"),
        ((None, None, None, 1001), "limit"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(registry, arguments, param):
    with pytest.raises(InvalidInput) as caught:
        registry.search(*arguments)
    assert caught.value.param == param


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_is_refused(text):
    try:
        parse_id(decode(text))
    except InvalidInput as error:
        assert error.code == "invalid_cursor"  # noqa: PT017 (not every text is refused)
    assert decode(encode("ada/coach")) == "ada/coach"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("config_bytes", "weight_bytes"),
    [
        (config(r=3), weights()),
        (config(use_dora=True), weights()),
        (b"", weights()),
        (config(), b""),
        (config(), weights()[:-1]),
        (config(), b"\x80\x04pickle"),
        (config(), weights({Q_A: tensors()[Q_A]})),
    ],
)
def test_a_refused_adapter_leaves_no_trace(registry, home, config_bytes, weight_bytes):
    before = sorted(home.rglob("*")), (home / "registry.db").read_bytes()
    with pytest.raises(InvalidAdapter):
        registry.register(card(), config_bytes, weight_bytes)
    assert (sorted(home.rglob("*")), (home / "registry.db").read_bytes()) == before
    assert everything(registry) == ([], 0, [])


def test_a_card_for_another_base_is_refused(registry, home):
    with pytest.raises(InvalidCard, match="'tiny'") as caught:
        register(registry, base="llama-70b")
    assert caught.value.param == "card.base"
    assert blobs(home) == []
    assert register(registry, base="tiny")[1]


@pytest.mark.parametrize(
    ("module", "step"),
    [(records, "_insert"), (moves, "_set"), (moves, "note_change")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_registration_that_fails_midway_is_not_visible_and_can_be_repeated(
    registry, monkeypatch, module, step
):
    def fail(*arguments):
        getattr(original, step)(*arguments)
        raise OSError("the disk is gone")

    original = type("Original", (), {step: staticmethod(getattr(module, step))})
    monkeypatch.setattr(module, step, fail)
    with pytest.raises(StorageError, match="the disk is gone"):
        register(registry)
    monkeypatch.undo()
    assert everything(registry) == ([], 0, [])
    version, created = register(registry)
    assert (version.number, created, registry.generation()) == (1, True, 1)


def test_another_base_sees_its_own_specialists_only(registry, home):
    version, _ = register(registry)
    other = Registry.open(home, dataclasses.replace(BASE, name="other"))
    assert other.live() == []
    assert [change.live for change in other.changes(0)] == [None]
    assert (other.count(), other.named("coach", 3)) == (0, [])
    for call in (other.get, other.versions, other.aliases.of, other.retire):
        with pytest.raises(UnknownSpecialist) as caught:
            call("ada/coach")
        assert caught.value.nearest == []
    with pytest.raises(UnknownSpecialist):
        other.resolve(parse_reference(f"ada/coach@{version.digest}"))
    other.close()


def test_what_was_registered_is_there_after_reopening(registry, home):
    register(registry, tags=["work"], examples=["How?"])
    register(registry, seed=1)
    before = everything(registry)
    registry.close()
    reopened = Registry.open(home, BASE)
    assert everything(reopened) == before
    reopened.close()


@pytest.mark.sqlite
def test_a_home_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Cannot create"):
        Registry.open(tmp_path / "file" / "home", BASE)


def test_threads_share_a_registry(registry):
    versions = []

    def work(thread):
        for n in range(5):
            versions.append(register(registry, f"ada/s{n}", seed=10 * thread + n)[0])
            registry.live()
            registry.generation()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({version.digest for version in versions}) == registry.generation() == 20
    for n in range(5):
        assert [version.number for version in registry.versions(f"ada/s{n}")] == [1, 2, 3, 4]


VIEWS = View("tiny"), View("tiny", "bob")


@pytest.mark.sqlite
def test_the_frequent_questions_are_answered_from_an_index(registry):
    from registry import queries

    statements = [
        sqlalchemy.text(queries.LAST_CHANGE),
        queries.live_heads(View("tiny")).where(queries.aliases.c.specialist > "a").limit(5),
        queries.changes_after(7, View("tiny")).limit(5),
        *(queries.one(parse_reference("ada/coach"), view) for view in VIEWS),
        *(each for view in VIEWS for each in queries.candidates(parse_reference("ada/x"), view)),
    ]
    with registry._database.read() as connection:
        for statement in statements:
            text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text)]
            assert not [step for step in plan if "SCAN" in step or "TEMP" in step], (text, plan)


def test_a_glance_that_fails_is_a_storage_error_and_the_next_one_is_answered(registry):
    for _ in range(20):
        with pytest.raises(StorageError, match="failed: "):
            registry._database.glance("SELECT nothing FROM nowhere")
    register(registry, "ada/coach")
    assert registry.generation() == 1


def test_a_database_that_refuses_a_glance_is_a_storage_error(registry, monkeypatch):
    engine = registry._database._backend.engine

    def refuse():
        raise engine.dialect.loaded_dbapi.OperationalError("nobody listens")

    monkeypatch.setattr(engine, "raw_connection", refuse)
    with pytest.raises(StorageError, match="nobody listens"):
        registry.generation()


@pytest.mark.sqlite
def test_versions_of_an_older_release_have_the_traits_of_their_cards(tmp_path):
    registry = Registry.open(tmp_path, BASE)
    scores = [
        {"metric": "exact_match", "value": 0.75, "data": "sha256:" + "d" * 64},
        {"metric": "token_f1", "value": 0.5},
    ]
    fields = {"tags": ["Law", "tax"], "language": "DE", "license": "MIT", "evaluation": scores}
    register(registry, "ada/coach", **fields)
    register(registry, "bob/coach", seed=1)
    before = [live.traits for live in registry.live()]
    registry.close()
    rewind(tmp_path, "0017")
    registry = Registry.open(tmp_path, BASE)
    after = [live.traits for live in registry.live()]
    registry.close()
    known = (("exact_match", "sha256:" + "d" * 64, 0.75),)
    first = Traits(("law", "tax"), "de", "mit", scores=known)
    assert after == [first, Traits(language="en")]
    # What older releases did not write down is asked of the card.
    assert after == [dataclasses.replace(each, sampling=None) for each in before]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"tags":1,"language":"en","license":""}'])
def test_of_unreadable_traits_nothing_is_known(text):
    assert Traits.stored(text) == Traits()


def test_sampling_that_a_later_release_wrote_is_not_known():
    text = Traits(tags=("law",), sampling=SamplingDefaults(temperature=0.5)).text
    later = text.replace('"temperature"', '"warmth"')
    assert Traits.stored(later) == Traits(tags=("law",))
