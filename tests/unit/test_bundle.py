"""A version taken from one server to another: as one file, and as a folder for PEFT."""

import io
import json
import tarfile

import pytest
from cli_world import live, myriad
from hypothesis import given
from hypothesis import strategies as st
from tiny_adapter import BASE, card, config, tensors, weights

from registry.bundle import CARD, NAMES, unpack
from registry.card import Card
from registry.errors import InvalidInput, NotOwned, UnknownSpecialist
from registry.files import CONFIG, WEIGHTS
from registry.limits import Limits
from registry.reference import parse_reference
from registry.registry import Registry

NAME = "ada/poet"
TOLD = {"tags": ["rhyme"], "private_examples": ["my secret sonnet"], "license": "mit"}


@pytest.fixture
def packed(registry, tmp_path):
    registry.register(card(NAME, **TOLD), config(), weights(seed=4))
    into = io.BytesIO()
    registry.pack(parse_reference(f"{NAME}@1"), into)
    file = tmp_path / "poet.tar"
    file.write_bytes(into.getvalue())
    return file


def test_a_version_that_is_registered_from_its_bundle_has_its_digest(registry, packed, tmp_path):
    folder = tmp_path / "unpacked"
    folder.mkdir()
    unpack(packed, folder, Limits())
    other = Registry.open(tmp_path / "other", BASE)
    again = Card.parse((folder / CARD).read_bytes())
    made, created = other.register(
        again, (folder / CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes()
    )
    assert created
    assert made.digest == registry.get(NAME).digest
    assert made.card.private_examples == ("my secret sonnet",)
    into = io.BytesIO()
    other.pack(parse_reference(f"{NAME}@1"), into)
    assert into.getvalue() == packed.read_bytes()
    other.close()


def test_only_its_owner_takes_it_away(registry, packed):
    for owner in ("ada", None):
        registry.seen_by(owner).pack(parse_reference(f"{NAME}@1"), io.BytesIO())
    with pytest.raises(NotOwned):
        registry.seen_by("eve").pack(parse_reference(f"{NAME}@1"), io.BytesIO())
    with pytest.raises(UnknownSpecialist):
        registry.pack(parse_reference(f"{NAME}@2"), io.BytesIO())


def archive(file, members):
    with tarfile.open(file, "w") as tar:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def link(name):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "has no card.json"),
        ([(name, b"x") for name in NAMES[:2]], "has no adapter_model"),
        ([("../evil", b"x")], "'../evil'"),
        ([("/etc/passwd", b"x")], "passwd"),
        ([(link(CARD), b"")], "card.json'"),
        ([(CARD, b"x" * (4 * 1024 * 1024 + 1))], "card.json is over"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path, members, said):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InvalidInput, match=said):
        unpack(archive(tmp_path / "bad.tar", members), folder, Limits())
    assert not (tmp_path / "evil").exists()


@given(st.binary(max_size=2000))
def test_any_bytes_are_no_bundle(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "x.tar").write_bytes(content)
    with pytest.raises(InvalidInput):
        unpack(folder / "x.tar", folder, Limits())


@pytest.fixture
def server(tmp_path, monkeypatch):
    with live(tmp_path / "home") as server:
        monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MYRIAD_URL", server.url)
        server.registry.register(card(NAME, **TOLD), config(), weights(seed=4))
        yield server


def test_the_commands_export_and_import(server, tmp_path):
    there = tmp_path / "deep" / "poet.tar"
    told = myriad("specialists", "export", f"{NAME}@1", str(there)).out
    assert told == f"{there} holds {NAME}@1\n"
    made = json.loads(myriad("specialists", "import", str(there), "--json").out)
    assert made["digest"] == server.registry.get(NAME).digest
    assert "eve/poet" in myriad("specialists", "import", str(there), "--as", "eve/poet").out
    assert server.registry.get("eve/poet").card.private_examples == ("my secret sonnet",)
    assert "is there already" in myriad("specialists", "export", f"{NAME}@1", str(there)).err
    assert (
        "no specialist" in myriad("specialists", "export", "ada/x@1", str(tmp_path / "x.tar")).err
    )
    assert not (tmp_path / "x.tar").exists()
    (tmp_path / "bad.tar").write_bytes(b"bad")
    assert "is no bundle" in myriad("specialists", "import", str(tmp_path / "bad.tar")).err


def test_a_folder_is_for_peft_and_comes_back_as_the_same(server, tmp_path):
    folder = tmp_path / "folder"
    assert myriad("specialists", "export", f"{NAME}@1", str(folder)).code == 0
    told = (folder / "README.md").read_text()
    assert told.startswith("---\nlibrary_name: peft\n")
    assert "secret" not in told + (folder / "card.yaml").read_text()
    again = json.loads(myriad("specialists", "register", NAME, str(folder), "--json").out)
    assert again["digest"] == server.registry.get(NAME).digest
    (folder / "card.yaml").unlink()
    (folder / "private_examples.yaml").unlink()
    assert myriad("specialists", "register", "eve/hub", str(folder)).code == 0
    found = server.registry.get("eve/hub").card
    assert (found.license, found.tags) == ("mit", ("lora", "rhyme"))
    assert found.description == server.registry.get(NAME).card.description


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("# T\n\nSays it.\nAll.\n\nMore.", {"description": "Says it. All."}),
        ("---\nlicense: mit\ntags: [a, 3]\nlanguage: [en]\n---\n\n- x\n\nDoes.",
         {"license": "mit", "tags": ("a",), "description": "Does."}),
        ("---\n: {bad\n---\nDoes.", {"description": "Does."}),
    ],
)  # fmt: skip
def test_a_model_card_of_the_hub_is_read(server, tmp_path, text, fields):
    (tmp_path / "hub").mkdir()
    for name, content in ((CONFIG, config()), (WEIGHTS, weights(tensors(seed=6)))):
        (tmp_path / "hub" / name).write_bytes(content)
    (tmp_path / "hub" / "README.md").write_text(text)
    ran = myriad("specialists", "register", "eve/hub", str(tmp_path / "hub"))
    assert ran.code == 0, ran.err
    found = server.registry.get("eve/hub").card
    assert {name: getattr(found, name) for name in fields} == fields
