"""What licences along a lineage ask for."""

import dataclasses

import pytest
from tiny_adapter import BASE, card, config, weights

from registry.base import BaseSpec
from registry.licences import Licensed, warnings
from registry.registry import Registry


def said(origins, **fields):
    return warnings(
        card(**fields), [Licensed(f"thing-{at}", text) for at, text in enumerate(origins)]
    )


@pytest.mark.parametrize(
    ("origins", "fields"),
    [
        ([], {}),
        (["mit", "apache-2.0", "cc-by-4.0", "something of our own"], {}),
        (["cc-by-nc-4.0"], {"license": "CC BY-NC 4.0"}),
        (["cc-by-sa-4.0"], {"license": "cc-by-sa-4.0"}),
        (["llama3.1"], {"id": "ada/llama-coach", "description": "A coach. Built with Llama."}),
    ],
)
def test_what_goes_together_is_let_pass(origins, fields):
    assert said(origins, **fields) == []


@pytest.mark.parametrize(
    ("origins", "fields", "expected"),
    [
        (["cc-by-nc-4.0"], {"license": "mit"}, ["forbids commercial use"]),
        (["cc-by-nc-4.0"], {}, ["forbids commercial use"]),
        (["cc-by-nd-4.0"], {"license": "cc-by-nd-4.0"}, ["forbids to pass on"]),
        (["cc-by-sa-4.0"], {"license": "mit"}, ["'license: cc-by-sa-4.0'"]),
        (["cc-by-nc-sa-4.0"], {"license": "cc-by-nc-4.0"}, ["asks for the same licence"]),
        (["gpl-3.0"], {}, ["asks for the same licence"]),
        (["Llama 3.1"], {}, ["'Built with Llama'", "begins with 'llama'"]),
        (["llama3.2"], {"id": "ada/llama-coach"}, ["'Built with Llama'"]),
        (["gpl-3.0", "cc-by-sa-4.0"], {"license": "gpl-3.0"},
         ["thing-1 stands under cc-by-sa-4.0", "nothing can be made of both"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(origins, fields, expected):
    found = said(origins, **fields)
    assert len(found) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, found, strict=True))


def test_licences_are_handed_down(tmp_path):
    registry = Registry.open(tmp_path, dataclasses.replace(BASE, license="llama3.2"))

    def register(name, seed, **fields):
        made = card(name, description="Built with Llama.", **fields)
        return registry.register(made, config(), weights(seed=seed))[0]

    data = {"datasets": [{"name": "chats", "license": "cc-by-nc-4.0"}]}
    register("ada/llama-root", 0, origins=data, license="cc-by-nc-4.0")
    child = register("ada/llama-child", 1, origins={"parents": ["ada/llama-root"]}, license="mit")
    found = registry.licence_warnings(child)
    assert sorted(text.partition(" ")[0] for text in found) == ["ada/llama-root@1", "chats"]
    other = register("ada/other", 2)
    assert [text.partition(" ")[0] for text in registry.licence_warnings(other)] == ["tiny"]
    registry.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: llama3.2\n---\n# Base", "llama3.2"),
        ("---\nlicense: other\nlicense_name: own-1\n---\n", "own-1"),
        ("---\ntags: [x]\n---\n", None),
        ("# Base\n", None),
        ("---\n: [\n---\n", None),
        ("---\n- a\n---\n", None),
        ("---\nlicense: [a]\n---\n", None),
    ],
)
def test_a_bases_licence_is_in_its_model_card(tmp_path, text, expected):
    from tiny import tiny_base

    folder = tiny_base(tmp_path / "base").folder
    assert BaseSpec.from_folder(folder, "base").license is None
    (folder / "README.md").write_text(text)
    assert BaseSpec.from_folder(folder, "base").license == expected
