import json

import pytest

from registry.base import BaseSpec
from registry.errors import UnsupportedBase

LLAMA = {
    "model_type": "llama",
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 5,
    "max_position_embeddings": 64,
}


def read(folder, **changes):
    fields = {key: value for key, value in (LLAMA | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(fields))
    return BaseSpec.from_folder(folder, "tiny")


def test_reads_sizes_and_shapes(tmp_path):
    base = read(tmp_path)
    assert (base.name, base.layers, base.hidden, base.context) == ("tiny", 3, 12, 64)
    assert base.modules == {
        "self_attn.q_proj": (20, 12),
        "self_attn.k_proj": (10, 12),
        "self_attn.v_proj": (10, 12),
        "self_attn.o_proj": (12, 20),
        "mlp.gate_proj": (20, 12),
        "mlp.up_proj": (20, 12),
        "mlp.down_proj": (12, 20),
    }


def test_head_width_and_key_heads_have_llamas_defaults(tmp_path):
    base = read(tmp_path, head_dim=None, num_key_value_heads=None)
    assert base.modules["self_attn.q_proj"] == base.modules["self_attn.k_proj"] == (12, 12)


def test_refuses_a_folder_without_a_llama(tmp_path):
    with pytest.raises(UnsupportedBase, match=r"config\.json cannot be read"):
        BaseSpec.from_folder(tmp_path, "tiny")
    with pytest.raises(UnsupportedBase, match="not the configuration of a Llama"):
        read(tmp_path, model_type="gpt2")
    with pytest.raises(UnsupportedBase, match="lacks the field 'hidden_size'"):
        read(tmp_path, hidden_size=None)
