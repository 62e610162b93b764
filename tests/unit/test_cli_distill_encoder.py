"""The encoder that `auto` routes by learns from a larger one, in a folder of its own."""

import json

import numpy as np
import pytest
from cli_world import myriad
from encoders import tiny_encoder

from deploy.encoder import open_encoder
from router.routing.encoder_folder import KINDS

TEXTS = ["rain in oslo", "sun in rome", "more rain", "sun and rain", "oslo and rome", "more sun"]


@pytest.fixture(params=["bert"])
def small(request, tmp_path, monkeypatch):
    folder = tiny_encoder(tmp_path / "small", request.param)
    monkeypatch.setenv("MYRIAD_ROUTER__ENCODER", str(folder))
    return folder


@pytest.fixture
def requests(tmp_path):
    file = tmp_path / "requests.txt"
    file.write_text("\n".join([*TEXTS, "", TEXTS[0], "  "]))
    return file


@pytest.mark.parametrize("small", KINDS, indirect=True)
def test_an_encoder_learns_from_a_larger_one(tmp_path, small, requests):
    teacher = tiny_encoder(tmp_path / "large", hidden_size=96, num_hidden_layers=2)
    learnt = tmp_path / "learnt"
    words = ("distill-encoder", str(requests), str(learnt), "--teacher", str(teacher))
    ran = myriad(*words, "--epochs", "20", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out.splitlines()[-1])
    assert told == {"folder": str(learnt), "texts": len(TEXTS), "teacher": "large"}
    before, after = open_encoder(1, str(small)), open_encoder(1, str(learnt))
    assert after.identity != before.identity
    np.testing.assert_array_equal(after.encode(TEXTS), before.encode(TEXTS))
    assert np.abs(after.layers(TEXTS) - before.layers(TEXTS)).max() > 1e-3


def test_an_encoder_may_learn_where_it_lies(small, requests):
    ran = myriad("distill-encoder", str(requests), str(small), "--teacher", str(small))
    assert ran.code == 0, ran.err
    assert f"MYRIAD_ROUTER__ENCODER={small} myriad up" in ran.out
    assert open_encoder(1, str(small)).identity.count("-") == 1


@pytest.mark.parametrize(
    ("content", "teacher", "said"),
    [
        (b"one\n\none\n", "small", "has 1 texts; 2 are needed"),
        ("caf\u00e9\n\u00fc\n".encode("latin-1"), "small", "is no text in UTF-8"),
        (b"one\ntwo\n", "nowhere", "nowhere has no config.json"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(tmp_path, small, requests, content, teacher, said):
    requests.write_bytes(content)
    words = ("distill-encoder", str(requests), str(tmp_path / "to"))
    ran = myriad(*words, "--teacher", str(tmp_path / teacher))
    assert ran.code == 1
    assert said in ran.err
    assert not (tmp_path / "to").exists()
