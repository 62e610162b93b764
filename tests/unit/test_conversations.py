"""How many conversations are kept: the newest that a quota of bytes leaves room for."""

import sqlalchemy as sa

from registry.conversations import Conversation
from registry.quota import Quota

MESSAGES = [{"role": "user", "content": "x" * 1000}]


def said(number, messages=MESSAGES, **metadata):
    answer = {"role": "assistant", "content": "y"}
    return Conversation(f"chat-{number}", "base", {"messages": messages}, answer, metadata)


def ids(registry):
    return [each.id for each in registry.conversations.list(100)[0]]


def test_the_oldest_are_forgotten_where_the_owners_quota_is_full(registry):
    ada, bob = registry.seen_by("ada", quota=Quota(bytes=3500)), registry.seen_by("bob")
    bob.conversations.keep(said("bob"))
    for number in range(5):
        ada.conversations.keep(said(number))
    assert ids(ada) == ["chat-2", "chat-3", "chat-4"]
    ada.conversations.keep(said("long", [{"role": "user", "content": "x" * 2000}]))
    assert ids(ada) == ["chat-4", "chat-long"]
    assert ids(bob) == ["chat-bob"]


def test_one_that_is_larger_than_the_quota_is_not_kept_and_nothing_is_without_one(registry):
    ada = registry.seen_by("ada", quota=Quota(bytes=500))
    ada.conversations.keep(said(0))
    assert ids(ada) == []
    registry.seen_by("ada").conversations.keep(said(1))
    assert ids(registry.seen_by("ada")) == ["chat-1"]


def test_a_key_of_no_owner_makes_room_among_its_own(registry):
    registry.seen_by("bob").conversations.keep(said("bob"))
    nobody = registry.seen_by(None, quota=Quota(bytes=1500))
    for number in range(3):
        nobody.conversations.keep(said(number))
    assert ids(registry) == ["chat-bob", "chat-2"]


def test_labels_count(registry):
    ada = registry.seen_by("ada", quota=Quota(bytes=2500))
    ada.conversations.keep(said(0))
    ada.conversations.keep(said(1))
    ada.conversations.describe("chat-1", {"about": "z" * 500})
    ada.conversations.keep(said(2))
    assert ids(ada) == ["chat-2"]
    ada.conversations.describe("chat-2", {})
    ada.conversations.keep(said(3))
    assert ids(ada) == ["chat-2", "chat-3"]
    with registry._database.read() as connection:
        weighed = sa.text(
            "SELECT nbytes - length(request || answer || metadata) FROM conversations"
        )
        assert set(connection.scalars(weighed)) == {0}


def test_a_page_is_as_long_as_it_is_asked_for_and_says_whether_there_are_more(registry):
    for number in range(4):
        registry.conversations.keep(said(number, odd=str(number % 2)))
    kept = registry.conversations
    for asked, expected in (
        ({}, ["chat-0", "chat-1", "chat-2", "chat-3"]),
        ({"metadata": {"odd": "1"}}, ["chat-1", "chat-3"]),
        ({"latest_first": True, "after": "chat-3"}, ["chat-2", "chat-1", "chat-0"]),
    ):
        for limit in range(1, 6):
            found, more = kept.list(limit, **asked)
            assert [each.id for each in found] == expected[:limit]
            assert more is (limit < len(expected))


def test_any_character_may_be_kept(registry):
    """Texts out of PDFs have NULs; of JSON PostgreSQL keeps them as they are escaped."""
    messages = [{"role": "user", "content": "a\0b \u2028 \U0001f600"}]
    registry.conversations.keep(said(0, messages))
    [kept], _ = registry.conversations.list(1)
    assert kept.request == {"messages": messages}
