from itertools import pairwise

import pytest
import typer

from deploy.cli.cards import (
    PRIVATE,
    dataset,
    find_card,
    load_card,
    write_card,
)
from registry.card import Card, Dataset
from registry.errors import InvalidCard
from specialists.training.card import MAX_EXAMPLES, complete
from specialists.training.data import Message, Row
from specialists.training.evaluate import Score

DIGEST = "sha256:" + "7" * 64
LEARNT = Dataset(name="chats.jsonl", digest=DIGEST, rows=3)
SCORE = Score("exact_match", 0.5, 0.3, 0.7, 0.25, None, 4, "sha256:0")


def rows(*requests: str) -> list[Row]:
    answer = Message(role="assistant", content="yes")
    return [Row(messages=(Message(role="user", content=text), answer)) for text in requests]


def draft(**fields) -> Card:
    return Card.of({"id": "a/b", "description": "x"} | fields)


def test_a_card_inside_the_folder_goes_before_one_beside_it(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    assert find_card(folder) is None
    (tmp_path / "card.yaml").touch()
    assert find_card(folder) == tmp_path / "card.yaml"
    (folder / "card.json").touch()
    assert find_card(folder) == folder / "card.json"


@pytest.mark.parametrize("name", ["id: x/y", "name: x/y", "owner: x\nname: y", "tags: [z]"])
def test_the_given_name_replaces_the_cards(tmp_path, name):
    file = tmp_path / "card.yaml"
    file.write_text(f"description: d\n{name}")
    assert load_card("a/b", file, None).id == "a/b"
    assert load_card("a/b", file, "mine").description == "mine"


def test_a_description_is_needed(tmp_path):
    with pytest.raises(typer.BadParameter, match="--description"):
        load_card("a/b", None, None)
    with pytest.raises(InvalidCard, match="description"):
        load_card("a/b", None, "")


def test_examples_are_distinct_and_evenly_spread():
    many = [f"request {number // 2}" for number in range(1000)]
    examples = complete(draft(), "tiny", DIGEST, LEARNT, rows(*many), []).private_examples
    assert len(examples) == len(set(examples)) == MAX_EXAMPLES
    numbers = [int(text.split()[1]) for text in examples]
    assert numbers[0] == 0
    assert {b - a for a, b in pairwise(numbers)} == {3, 4}


def test_examples_that_no_card_takes_are_left_out():
    made = complete(
        draft(), "tiny", DIGEST, LEARNT, rows("ok", " ", "a\x00b", "c" * 4001, "ok", "too"), []
    )
    assert made.private_examples == ("ok", "too")


def test_the_cards_own_fields_stay():
    made = complete(draft(tags=["t"]), "tiny", DIGEST, LEARNT, rows("other"), [SCORE])
    assert (made.tags, made.base) == (("t",), "tiny")
    assert made.evaluation[0].base_value == 0.25


def test_training_requests_are_private_and_top_up_the_authors_examples():
    mine = ["mine", "request 3"]
    many = [f"request {number}" for number in range(1000)]
    made = complete(draft(examples=mine), "tiny", DIGEST, LEARNT, rows(*many), [])
    assert made.examples == tuple(mine)
    assert made.private_examples[0] == "request 0"
    assert len(made.routed_by) == len(set(made.routed_by)) == MAX_EXAMPLES == 160
    numbers = [int(text.split()[1]) for text in made.private_examples]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 980


def test_requests_are_published_only_when_that_is_asked_for():
    made = complete(
        draft(examples=["mine"]), "tiny", DIGEST, LEARNT, rows("b", "c"), [], publish=True
    )
    assert (made.examples, made.private_examples) == (("mine", "b", "c"), ())


@pytest.mark.parametrize("count", [160, 300])
def test_enough_examples_are_left_as_they_are(count):
    mine = [f"mine {number}" for number in range(count)]
    made = complete(draft(examples=mine), "tiny", DIGEST, LEARNT, rows("other"), [])
    assert (made.examples, made.private_examples) == (tuple(mine), ())


def test_scores_of_before_stay_when_nothing_was_scored():
    before = {"metric": "m", "value": 1.0}
    assert (
        complete(draft(evaluation=[before]), "tiny", DIGEST, LEARNT, rows("a"), [])
        .evaluation[0]
        .metric
        == "m"
    )


def test_a_written_card_reads_back_and_its_private_part_is_a_file_apart(tmp_path):
    asked = rows("é 🙂", "no", "1")
    made = complete(
        draft(description="Übt: ‘ja’ # nein\n- 1", examples=["mine"]),
        "tiny",
        DIGEST,
        LEARNT,
        asked,
        [SCORE],
    )
    write_card(made, tmp_path)
    shown = Card.parse((tmp_path / "card.yaml").read_bytes())
    assert (shown.examples, shown.private_examples) == (("mine",), ())
    assert (tmp_path / PRIVATE).stat().st_mode & 0o077 == 0
    assert load_card("a/b", tmp_path / "card.yaml", None, tmp_path) == made
    write_card(shown, tmp_path)
    assert not (tmp_path / PRIVATE).exists()


def test_what_was_learnt_from_is_among_the_origins(tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_text("{}")
    learnt = dataset(file, 1)
    assert (learnt.name, learnt.rows) == ("chats.jsonl", 1)
    before = {"parents": ["a/older@1"], "datasets": [{"name": "else.jsonl"}]}
    made = complete(draft(origins=before), "tiny", DIGEST, learnt, rows("a"), [])
    assert made.origins.parents == ("a/older@1",)
    assert [each.name for each in made.origins.datasets] == ["else.jsonl", "chats.jsonl"]
    assert complete(made, "tiny", DIGEST, learnt, rows("a"), []).origins == made.origins
