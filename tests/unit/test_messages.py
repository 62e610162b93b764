"""What the base is asked for, and what counts of its answers."""

from random import Random

import pytest

from benchmarks.messages import SHOWN, messages, prompt


def test_a_prompt_shows_how_people_write_and_asks_for_one_topic():
    for seed in range(20):
        *_, shown, asked = prompt(Random(seed), "gardening").split("\n\n")
        assert asked == "About gardening:\n-"
        title, *lines = shown.splitlines()
        known = SHOWN[title.removeprefix("About ").rstrip(":")]
        plain = {line.lower().rstrip("?.") for line in known}
        assert {line.removeprefix("- ").lower().rstrip("?.") for line in lines} == plain


@pytest.mark.parametrize(
    ("text", "cut", "found"),
    [
        (
            ' how do I prune\n- "When do figs ripen?"',
            False,
            ["how do I prune", "When do figs ripen?"],
        ),
        (" how do I prune\n- when do fi", True, ["how do I prune"]),
        (" prune\n- hm\n-\n- " + "very " * 40 + "\n- cut the hedge", False, ["cut the hedge"]),
        ("", True, []),
    ],
)
def test_only_whole_messages_of_a_few_words_count(text, cut, found):
    assert messages(text, cut) == found
