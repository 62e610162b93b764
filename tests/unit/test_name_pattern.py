"""Names in an adapter's patterns mean what PEFT takes them for, however many there are."""

from hypothesis import given
from hypothesis import strategies as st
from peft.utils.other import get_pattern_key

from registry.name_pattern import NamePattern, endings

PARTS = st.sampled_from(["model", "layers", "0", "1", "self_attn", "q_proj", "mlp", "up_proj"])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map(".".join)
EXPRESSIONS = st.sampled_from(
    [r"layers\.[01]\..*", r".*_proj", r"(q|up)_proj", r"\w+", r"^model\..*", r"self_attn.q_proj"]
)
KEYS = EXPRESSIONS | st.tuples(st.sampled_from(["", "^"]), PATHS).map("".join)


@given(st.dictionaries(KEYS, st.integers(1, 9), max_size=8), PATHS)
def test_the_first_name_that_fits_decides_as_in_peft(entries, path):
    key = get_pattern_key(entries.keys(), path)
    assert NamePattern("rank_pattern", entries).first(path, 0) == entries.get(key, 0)


def test_the_endings_of_a_path():
    assert endings("a.b.c") == ["a.b.c", "b.c", "c"]


def test_a_look_up_does_not_depend_on_how_many_names_there_are():
    class Counted(str):
        asked = 0

        def __hash__(self):
            return super().__hash__()

        def __eq__(self, other):
            Counted.asked += 1
            return super().__eq__(other)

    pattern = NamePattern("rank_pattern", {Counted(f"name{n}"): n for n in range(2_000)})
    Counted.asked = 0
    assert pattern.first("model.layers.0.self_attn.q_proj", 7) == 7
    assert Counted.asked < 20
