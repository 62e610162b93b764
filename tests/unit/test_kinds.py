"""Kinds of adapter."""

import json

import pytest
from engines import make_adapter
from tiny import tiny_base

from registry.files import CONFIG, AdapterFiles
from specialists.engine.kinds import KINDS, kind_of
from specialists.errors import AdapterUnavailable


@pytest.mark.parametrize("name", ["IA3", None, 7])
def test_another_kind_is_refused_by_its_name(tmp_path, name):
    files = AdapterFiles.in_folder(make_adapter(tiny_base(tmp_path / "b"), tmp_path / "a", seed=0))
    assert kind_of(files) is KINDS["LORA"]
    (tmp_path / "a" / CONFIG).write_text(json.dumps({"peft_type": name}))
    with pytest.raises(AdapterUnavailable, match=str(name)):
        kind_of(files)
