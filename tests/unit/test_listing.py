"""Lists and searches show what a look at every card would, a page at a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from old_release import rewind
from tiny_adapter import BASE, card, config, weights

from registry import listing
from registry.cursor import encode
from registry.errors import InvalidInput
from registry.registry import Registry
from registry.view import Visibility

TEXTS = [
    *("Salary talks, 100% calm", 'Says "no" in Straße', "会议纪要写成清单"),
    *("a_b AND c OR d NEAR(e)", "İstanbul"),
]
TAGS = [(), ("hr",), ("hr", "law"), ("HR", "la")]
WORDS = [
    *(
        "salary",
        "a",
        "sa",
        "100%",
        "%",
        "_",
        '"no"',
        '"',
        "会议",
        "会",
        "纪要写",
        "AND",
        "OR",
        "hr",
    ),
    *("istanbul", "STRASSE", "ada/", "bob", "\x01\x01\x01", "\x02ada/", "*", "(", "NEAR(", "s3"),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    registry = Registry.open(tmp_path_factory.mktemp("home"), BASE)
    for number in range(24):
        owner, text = ("ada", "bob", "eve")[number % 3], TEXTS[number % len(TEXTS)]
        made = card(f"{owner}/s{number}", description=text, tags=TAGS[number % len(TAGS)])
        visibility = list(Visibility)[number // 2 % 3]
        registry.register(made, config(), weights(), visibility=visibility)
    registry.retire("ada/s3")
    registry.show_to("bob/s4", Visibility.PUBLIC)
    registry.register(card("eve/s8", description="Other words"), config(), weights(seed=1))
    registry.aliases.promote("eve/s8@1")
    yield registry, [registry.get(live.id) for live in registry.live()]
    registry.close()


def expected(versions, owner, text, tag):
    """By looking at every card."""
    found = []
    for version in versions:
        tags = [each.casefold() for each in version.card.tags]
        shown = "\n".join([version.id, version.card.description, *tags]).casefold()
        words = (text or "").casefold().translate(dict.fromkeys(range(32), " ")).split()
        seen = owner in (None, version.id.partition("/")[0])
        seen = seen or version.visibility == Visibility.PUBLIC
        fits = all(word in shown for word in words) and tag_fits(tag, tags)
        if seen and fits:
            found.append(version.id)
    return sorted(found, key=lambda name: -int(name.rpartition("s")[2]))


def tag_fits(tag, tags):
    return tag is None or tag.casefold() in tags


def pages(registry, text, tag, limit):
    found, cursor = [], None
    while True:
        page = registry.search(text, tag, cursor, limit)
        assert len(page.data) <= limit
        found += [version.id for version in page.data]
        cursor = page.next_cursor
        if cursor is None:
            return found


@settings(max_examples=60)
@given(
    owner=st.sampled_from([None, "ada", "bob", "nobody"]),
    words=st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=3),
    tag=st.sampled_from([None, None, "hr", "LA", "law", "l"]),
    limit=st.integers(3, 30),
    scanned=st.integers(3, 30),
)
def test_a_search_finds_what_a_look_at_every_card_finds(filled, owner, words, tag, limit, scanned):
    registry, versions = filled
    text = " ".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "SCANNED", scanned)
        found = pages(registry.seen_by(owner), text, tag, limit)
    assert found == expected(versions, owner, text, tag)


def test_a_page_looks_through_so_many_and_no_more(filled, monkeypatch):
    monkeypatch.setattr(listing, "SCANNED", 2)
    registry, _ = filled
    page = registry.search("zz", None, None, 5)
    assert page.data == []
    assert page.next_cursor is not None


def test_the_newest_come_first_without_their_cards(filled):
    registry, versions = filled
    newest = registry.newest(5)
    assert [live.id for live in newest] == expected(versions, None, None, None)[:5]
    assert set(newest) <= set(registry.live())
    seen = [live.id for live in registry.seen_by("bob").newest()]
    assert seen == expected(versions, "bob", None, None)


@pytest.mark.parametrize("name", ["eve/s2", "ada/nobody"])
def test_no_page_ended_with_what_is_not_to_be_seen(filled, name):
    with pytest.raises(InvalidInput, match="was not issued here"):
        filled[0].seen_by("bob").search(None, None, encode(name), 5)


@pytest.mark.sqlite
def test_those_of_an_older_release_are_found(tmp_path):
    registry = Registry.open(tmp_path, BASE)
    for number, name in enumerate(("ada/one", "bob/two", "ada/three")):
        made = card(name, description=f"Number {number}", tags=["count"])
        registry.register(made, config(), weights())
    registry.retire("bob/two")
    registry.close()
    rewind(tmp_path, "0011")
    registry = Registry.open(tmp_path, BASE)
    assert pages(registry, "number", "count", 1) == ["ada/three", "ada/one"]
    registry.restore("bob/two")
    registry.register(card("eve/four"), config(), weights())
    assert pages(registry, None, None, 9) == ["eve/four", "ada/three", "bob/two", "ada/one"]
    registry.close()
