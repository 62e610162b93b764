import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidReference
from registry.reference import Reference, parse_id, parse_reference

FIRST = string.ascii_lowercase + string.digits
names = st.builds(str.__add__, st.sampled_from(FIRST), st.text(FIRST + "._-", max_size=63))
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
references = st.one_of(
    st.builds(Reference, names, names),
    st.builds(Reference, names, names, alias=names),
    st.builds(Reference, names, names, digest=digests),
    st.builds(Reference, names, names, number=st.integers(1, 10**9 - 1)),
)


@given(references)
def test_every_reference_survives_being_written_and_read(reference):
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=200))
def test_any_text_is_a_reference_that_reads_back_or_is_refused(text):
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        error.message.encode()
    else:
        assert str(reference) == text


@given(references)
def test_an_id_carries_neither_alias_nor_digest(reference):
    assert parse_id(reference.id) == Reference(reference.owner, reference.name)
    if str(reference) != reference.id:
        with pytest.raises(InvalidReference):
            parse_id(str(reference))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auto",
        "owner/",
        "/name",
        "a/b/c",
        "Owner/name",
        ".hidden/name",
        "../name",
        "owner/..",
        "owner/-name",
        "owner/name ",
        "owner/name\n",
        "owner/name:",
        "owner/name:Prod",
        "owner/name@prod",
        "owner/name@0",
        "owner/name@01",
        "owner/name@1234567890",
        "owner/name:prod@2",
        "owner/name@sha256:abc",
        "owner/name@sha256:" + "A" * 64,
        "owner/name:prod@sha256:" + "a" * 64,
        "o" * 65 + "/name",
        "owner/" + "n" * 65,
        "owner/näme",
        "owner/\u0661",
        "\ud800/name",
    ],
)
def test_refuses(text):
    with pytest.raises(InvalidReference, match=r"Write owner/name") as caught:
        parse_reference(text)
    assert caught.value.param == "model"
    assert caught.value.message.isascii()


def test_a_refusal_of_a_huge_text_is_short():
    with pytest.raises(InvalidReference) as caught:
        parse_reference("x" * 1_000_000)
    assert len(caught.value.message) < 1000
