"""Bases and adapters that come from a hub: a real client of one on loopback."""

import pytest
from cli_world import adapter_folder, live, myriad
from gguf_files import write_gguf
from hub import serving
from tiny import tiny_base

from deploy.cli import checks
from deploy.encoder import encoder_folder
from deploy.errors import InvalidSetting
from deploy.settings import Settings, read_settings
from router.routing.encoder_folder import (
    CONFIG,
    PACKAGED_IDENTITY,
    POOLING,
    TOKENIZER,
    WEIGHTS,
    packaged_folder,
)
from specialists.base import EMBEDDED, fetched_base, locate_base, prepare_base
from specialists.errors import BaseUnavailable, HubUnavailable
from specialists.hub import fetch, is_id
from specialists.progress import silent

BASE = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(3 << 20),
    "consolidated.safetensors": b"the same again",
    "README.md": b"# Lama",
    "pytorch_model.bin": b"a pickle",
}
NEEDED = {"config.json", "tokenizer.json", "model.safetensors"}


@pytest.fixture
def hub(tmp_path):
    with serving(tmp_path / "hub") as hub:
        yield hub


def names(folder):
    return {file.name for file in folder.iterdir()}


def test_a_base_is_fetched_once_and_stays_as_it_is(hub, tmp_path):
    hub.publish("acme/lama", BASE)
    assert fetched_base("acme/lama") is None
    told = []
    base = prepare_base("acme/lama", tmp_path, lambda *step: told.append(step))
    assert (base.name, names(base.folder)) == ("lama", NEEDED)
    assert told[-1] == ("Fetching acme/lama, MiB", 3, 3)

    hub.publish("acme/lama", BASE | {"model.safetensors": b"others"})
    asked = len(hub.asked)
    assert locate_base("acme/lama", tmp_path) == base == fetched_base("acme/lama")
    assert len(hub.asked) == asked


def test_a_revision_is_another_base(hub, tmp_path):
    first = hub.publish("acme/lama", BASE)
    second = hub.publish("acme/lama", BASE | {"model.safetensors": b"others"})
    for revision, weights in ((first, BASE["model.safetensors"]), (second, b"others")):
        base = locate_base(f"acme/lama@{revision}", tmp_path)
        assert base.name == "lama"
        assert (base.folder / "model.safetensors").read_bytes() == weights


def test_what_others_fetched_in_part_is_completed(hub, tmp_path):
    from huggingface_hub import hf_hub_download

    hub.publish("acme/lama", BASE)
    hf_hub_download("acme/lama", "config.json")
    assert names(locate_base("acme/lama", tmp_path).folder) == NEEDED


def test_without_the_hub_there_is_what_was_fetched(tmp_path):
    with serving(tmp_path / "hub") as hub:
        hub.publish("acme/lama", BASE)
        base = locate_base("acme/lama", tmp_path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
            assert locate_base("acme/lama", tmp_path) == base
            with pytest.raises(BaseUnavailable, match="the hub cannot be reached for acme/other"):
                locate_base("acme/other", tmp_path)


def test_of_gguf_files_one_is_fetched(hub, tmp_path):
    content = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "fox")).read_bytes()
    kinds = ("Q4_1", "UD-Q4_1", "Q8_0", "f16-00001-of-00002")
    hub.publish("acme/fox-GGUF", {f"fox-{kind}.gguf": content for kind in kinds})
    settings = Settings(home=tmp_path, base="acme/fox-GGUF:q4_1")
    assert checks.check_base(settings).state == "warn"
    with pytest.raises(BaseUnavailable, match="there is no file acme/fox-GGUF:q4_1 here"):
        locate_base(settings.base, tmp_path)
    assert not hub.asked
    base = prepare_base(settings.base, tmp_path, silent)
    assert base.name == "fox-Q4_1"
    assert not [path for path in hub.asked if "Q8_0" in path or "f16" in path]
    asked = len(hub.asked)
    assert locate_base(settings.base, tmp_path) == prepare_base(settings.base, tmp_path, silent)
    assert checks.check_base(settings).found == str(base.folder)
    assert len(hub.asked) == asked
    with pytest.raises(BaseUnavailable, match="no whole file for acme/fox-GGUF:F16"):
        prepare_base("acme/fox-GGUF:F16", tmp_path, silent)
    with pytest.raises(BaseUnavailable, match="the hub has no acme/none"):
        prepare_base("acme/none:F16", tmp_path, silent)


def test_what_is_no_base_is_said(hub, tmp_path):
    hub.publish("acme/gguf", {"config.json": b"{}", "model.gguf": b"GGUF"})
    with pytest.raises(
        BaseUnavailable, match="safetensors; of GGUF files name one, such as acme/gguf:Q4_"
    ):
        locate_base("acme/gguf", tmp_path)
    with pytest.raises(BaseUnavailable, match=r"it has no config\.json"):
        locate_base(str(tmp_path), tmp_path)
    assert not [path for path in hub.asked if str(tmp_path) in path]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("acme/gated", "acme/gated is gated: accept its terms on its page, then log in"),
        ("acme/nothing", "the hub has no acme/nothing, or not for everybody: log in"),
        ("acme/lama@v9", "the hub has no such revision: acme/lama@v9"),
        ("a/b/c", "'a/b/c' is no id of a hub"),
    ],
)
def test_why_a_hub_gives_nothing_is_said(hub, source, said):
    hub.publish("acme/lama", BASE)
    hub.publish("acme/gated", BASE)
    hub.gated.add("acme/gated")
    with pytest.raises(HubUnavailable, match=said):
        fetch(source, ["*.json"], silent)


def test_the_doctor_fetches_nothing(hub, tmp_path):
    hub.publish("acme/lama", BASE)
    settings = Settings(home=tmp_path, base="acme/lama")
    assert checks.check_base(settings).state == "warn"
    assert not hub.asked
    folder = locate_base("acme/lama", tmp_path).folder
    assert checks.check_base(settings) == checks.Check("base", "ok", str(folder))
    nowhere = checks.check_base(Settings(home=tmp_path, base="/models/nowhere"))
    assert (nowhere.state, nowhere.mend) == ("fail", "set MYRIAD_BASE to another")


def test_an_encoder_is_fetched_once(hub):
    files = {name: (packaged_folder() / name).read_bytes() for name in (CONFIG, TOKENIZER, WEIGHTS)}
    files |= {POOLING: b'{"pooling_mode_mean_tokens": true}', "onnx/config.json": b"{}"}
    hub.publish("acme/words", files)
    assert checks.check_encoder("acme/words").state == "warn"
    assert not hub.asked
    found = encoder_folder("acme/words")
    assert (found.name, found.identity) == ("words", PACKAGED_IDENTITY)
    assert (found.path / POOLING).is_file()
    assert not (found.path / "onnx").exists()
    asked = len(hub.asked)
    assert encoder_folder("acme/words") == found
    assert checks.check_encoder("acme/words") == checks.Check(
        "encoder", "ok", f"words, of {found.path}"
    )
    assert len(hub.asked) == asked


def test_what_is_no_encoder_is_said(hub):
    hub.publish("acme/lama", BASE)
    for source, said in (
        ("acme/lama", "is of the kind None"),
        ("acme/nothing", "the hub has no acme/nothing"),
    ):
        with pytest.raises(
            InvalidSetting, match=f"MYRIAD_ROUTER__ENCODER cannot be used: .*{said}"
        ):
            encoder_folder(source)


def test_folders_are_named_from_the_root_and_what_a_hub_has_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "lama").mkdir(parents=True)
    for named, meant in (
        ("models/lama", f"{tmp_path}/models/lama"),
        ("./lama", f"{tmp_path}/lama"),
        ("acme/lama@v1", "acme/lama@v1"),
        (EMBEDDED, EMBEDDED),
    ):
        read = read_settings(base=named, router={"encoder": named})
        assert (read.base, read.router.encoder) == (meant, meant)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("acme/lama", True),
        ("acme/Lama-3.2_b@refs/pr/1", True),
        ("acme", False),
        ("./acme", False),
        ("~/acme", False),
        ("a/b/c", False),
        ("/acme", False),
        ("acme/", False),
        ("acme/la ma", False),
    ],
)
def test_what_may_be_an_id(source, named):
    assert is_id(source) is named


def test_an_adapter_of_a_hub_goes_into_service(hub, tmp_path, monkeypatch):
    folder = adapter_folder(tmp_path / "adapter")
    (folder / "README.md").write_text("---\nlicense: mit\n---\nAnswers questions on claims.\n")
    hub.publish("acme/claims-lora", folder)
    with live(tmp_path / "home") as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        ran = myriad("specialists", "register", "acme/claims", "acme/claims-lora")
        assert ran.code == 0, ran.err
        card = server.registry.get("acme/claims").card
        assert (card.description, card.license) == ("Answers questions on claims.", "mit")

        # What a hub's main is now, not what was fetched before.
        adapter_folder(folder, seed=8)
        hub.publish("acme/claims-lora", folder)
        ran = myriad("specialists", "register", "acme/claims", "acme/claims-lora")
        assert ran.code == 0, ran.err
        assert server.registry.get("acme/claims").number == 2


def test_what_is_no_adapter_is_said(hub, tmp_path, monkeypatch):
    hub.publish("acme/pickle", {"adapter_config.json": b"{}", "adapter_model.bin": b"a pickle"})
    with live(tmp_path) as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        for place, said in (
            ("acme/pickle", "has no adapter_model.safetensors"),
            ("acme/nothing", "the hub has no acme/nothing"),
            ("./no-such-folder", "is no folder, and no id of a hub"),
        ):
            ran = myriad("specialists", "register", "acme/claims", place, "--description", "x")
            assert ran.code != 0
            assert said in " ".join(ran.err.split()), ran.err
