"""Other bases than the embedded one."""

import json

from clusters import free_port, running

from specialists.base import EMBEDDED, GGUF

NAME = "Fox-135M.Q4_1"
MESSAGES = [{"role": "user", "content": "What do foxes eat?"}]
FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "food",
        "schema": {
            "type": "object",
            "properties": {"food": {"enum": ["mice", "hay"]}},
            "required": ["food"],
            "additionalProperties": False,
        },
    },
}


def test_a_gguf_file_is_served_by_its_name(cluster, client, tmp_path):
    """The embedded base's own file, so that both say the same."""
    file = tmp_path / f"{NAME}.gguf"
    file.symlink_to(cluster.home / "base" / EMBEDDED / GGUF)
    asked = {"messages": MESSAGES, "temperature": 0, "max_tokens": 40}
    expected = client.chat.completions.create(model=EMBEDDED, **asked).choices[0].message.content
    told = {"MYRIAD_BASE": str(file), "MYRIAD_DEMOS": "false"}
    home = tmp_path / "home"
    with (
        running(home, free_port(), tmp_path / "up.log", **told) as other,
        other.openai() as others,
    ):
        assert [model.id for model in others.models.list()] == ["auto", NAME]
        answer = others.chat.completions.create(model=NAME, **asked)
        held = others.chat.completions.create(model=NAME, response_format=FORM, **asked)
    assert answer.choices[0].message.content == expected
    assert json.loads(held.choices[0].message.content)["food"] in ("mice", "hay")
