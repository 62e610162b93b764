"""Learning which of two answers is preferred."""

import json

import pytest
import torch
from test_finetune import Kept, weights
from tiny import tiny_base
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from registry.files import AdapterFiles
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError, TrainingStopped
from specialists.hardware import choose_dtype
from specialists.training.data import rows_of
from specialists.training.encoding import encode_all, encode_pair
from specialists.training.evaluate import preference
from specialists.training.finetune import finetune
from specialists.training.lora_network import with_adapter
from specialists.training.objective import objective, with_leads
from specialists.training.pairs import are_pairs, pairs_of, read_pairs
from specialists.training.recipe import Recipe

WORDS = ("fox", "dog", "raise", "number", "hello")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def openai(word, good, bad):
    return {
        "input": {"messages": [user(f"the {word}")], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [assistant(good)],
        "non_preferred_output": [assistant(bad)],
    }


PAIRS = pairs_of(
    lines(*(openai(word, f"never a {word}", f"{word} again") for word in WORDS)), "pairs"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tokenizer(base):
    return Tokenizer.from_folder(base.folder)


@pytest.mark.parametrize(
    "row",
    [
        openai("fox", "yes", "no"),
        {"prompt": "the fox", "chosen": "yes", "rejected": "no"},
        {
            "prompt": [user("the fox")],
            "chosen": [assistant("yes")],
            "rejected": [assistant("no")],
        },
        {
            "chosen": [user("the fox"), assistant("yes")],
            "rejected": [user("the fox"), assistant("no")],
        },
    ],
)
def test_every_form_is_the_same_pair(row):
    (pair,) = pairs_of(lines(row), "pairs.jsonl")
    assert (pair.preferred.answer.content, pair.refused.answer.content) == ("yes", "no")
    assert [turn.content for turn in pair.request] == ["the fox"]
    assert pair.first_request == "the fox"
    assert are_pairs(lines(row))


def test_only_the_last_answers_are_told_apart(tokenizer):
    earlier = [user("a fox"), assistant("quick"), user("a dog")]
    row = {"prompt": earlier, "chosen": "lazy", "rejected": "brown"}
    (pair,) = pairs_of(lines(row), "pairs.jsonl")
    example = encode_pair(pair, tokenizer, 512)
    ends = [assistant("lazy"), assistant("brown")]
    for part, end in zip(example.parts, ends, strict=True):
        wanted = [token for token, own in zip(part.tokens, part.learnt, strict=True) if own]
        assert tokenizer.decode(wanted).startswith(end["content"])
    assert example.lessons == 1
    assert encode_pair(pair, tokenizer, 8) is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (openai("fox", "same", "same"), "both answers are the same"),
        (
            {"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("d")]},
            "same r",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "'refused.messages[1].content'"),
        ({"prompt": "a", "chosen": "b"}, "has none of these: 'input' and"),
        ({"input": "a", "preferred_output": [], "non_preferred_output": []}, "'input' must be an"),
        ({"prompt": "a", "chosen": [user("b")], "rejected": "c"}, "must be the assistant's"),
        ([], "is no object"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said_with_its_place(row, said):
    reading = read_pairs(lines(openai("fox", "yes", "no"), row), "pairs.jsonl")
    assert len(reading.rows) == 1
    (problem,) = reading.problems
    assert problem.startswith("line 2: ")
    assert said in problem


def test_pairs_and_chats_are_told_apart():
    with pytest.raises(TrainingDataError, match="method 'dpo'"):
        rows_of(lines(openai("fox", "yes", "no")), "pairs.jsonl")
    assert not are_pairs(lines({"messages": [user("a"), assistant("b")]}))
    assert not are_pairs(b"")
    assert not are_pairs(b"\xff\xfe\x00")
    assert not are_pairs(b"nonsense")


def likelihood(network, part) -> torch.Tensor:
    """Of one answer, in nats, from all logits of one row."""
    logits = network(torch.tensor([part.tokens])).logits[0, :-1].log_softmax(-1)
    each = logits[range(len(part.tokens) - 1), part.tokens[1:]]
    return each[torch.tensor(part.learnt[1:])].sum()


def gained(network, reference, pair) -> torch.Tensor:
    """Of the wanted answer on the other: pi/ref of one by pi/ref of the other, logarithmic."""
    now, before = (
        likelihood(each, pair) - likelihood(each, pair.refused) for each in (network, reference)
    )
    return now - before


@torch.no_grad()
def test_the_loss_is_that_of_the_paper(base, tokenizer):
    network = with_adapter(base, Recipe(rank=4)).float()
    held = choose_dtype("auto", torch.device("cpu"))  # in which the trained one has its weights
    reference = AutoModelForCausalLM.from_pretrained(base.folder, dtype=held).float()
    pairs = with_leads(network, encode_all(PAIRS, tokenizer, 512))
    torch.manual_seed(3)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.normal_(std=0.05)
    losses, right = objective(network, pairs, beta=0.3)
    expected = torch.stack([gained(network, reference, pair) for pair in pairs])
    torch.testing.assert_close(losses, -F.logsigmoid(0.3 * expected), rtol=1e-3, atol=1e-4)
    assert right == int((expected > 0).sum())
    assert expected.abs().min() > 1e-3


def learnt(base, folder, **more):
    curve = []
    recipe = Recipe(rank=4, epochs=12, batch_size=2, learning_rate=1e-2, patience=12)
    finetune(base, PAIRS, folder, recipe, curve.append, validation=PAIRS, **more)
    return curve


@pytest.fixture(scope="module")
def preferring(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferring")
    return folder, learnt(base, folder)


def test_an_adapter_learns_what_is_preferred(base, preferring):
    folder, curve = preferring
    assert curve[0].loss == pytest.approx(0.6931, abs=1e-3)
    assert curve[-1].validation_loss < 0.1
    assert curve[-1].accuracy == 1
    score = preference(base, AdapterFiles.in_folder(folder), PAIRS, "digest")
    assert score.metric == "preference_accuracy"
    assert score.value == score.high == 1
    assert score.base_value == 0
    assert score.before_value is None


def test_an_adapter_goes_on_from_another_which_is_the_reference(base, preferring, tmp_path):
    folder, _ = preferring
    curve = learnt(base, tmp_path, parent=folder)
    assert curve[0].loss == pytest.approx(0.6931, abs=1e-3)
    files = AdapterFiles.in_folder(folder)
    score = preference(base, AdapterFiles.in_folder(tmp_path), PAIRS, "digest", before=files)
    assert score.before_value == 1


def test_a_run_over_pairs_that_was_stopped_ends_with_the_same_weights(base, preferring, tmp_path):
    folder, _ = preferring
    kept, steps = Kept(), iter(range(100))
    with pytest.raises(TrainingStopped):
        learnt(base, tmp_path, keeper=kept, stop=lambda: next(steps) == 10)
    learnt(base, tmp_path, keeper=kept)
    assert weights(tmp_path) == weights(folder)


def test_pairs_that_are_all_too_long_are_not_judged_by(base, preferring):
    folder, _ = preferring
    long = pairs_of(lines(openai("fox", "fox " * 3000, "dog")), "pairs.jsonl")
    with pytest.raises(TrainingDataError, match="longer than the base's context"):
        preference(base, AdapterFiles.in_folder(folder), long, "digest")
