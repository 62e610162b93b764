import dataclasses
import hashlib

import pytest

from registry.manifest import Manifest, canonical, digest

MANIFEST = Manifest("lora", "tiny", "sha256:d", "sha256:a", "sha256:b", "sha256:c")


def test_canonical_json_has_one_spelling():
    assert canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))


def test_a_digest_is_of_every_part():
    """The text it is taken of is fixed: versions that exist are named by it."""
    text = (
        '{"base":"tiny","base_digest":"sha256:d","card":"sha256:c","config":"sha256:a",'
        '"kind":"lora","weights":"sha256:b"}'
    )
    assert digest(MANIFEST) == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    parts = [field.name for field in dataclasses.fields(Manifest)]
    changed = {digest(dataclasses.replace(MANIFEST, **{part: "other"})) for part in parts}
    assert len(changed | {digest(MANIFEST)}) == len(parts) + 1
