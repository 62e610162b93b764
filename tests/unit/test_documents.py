"""Plain documents: texts that are learnt as they stand."""

import json

import pytest
import torch
from tiny import tiny_base
from torch.nn import functional as F

from registry.files import AdapterFiles
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.training.documents import Document
from specialists.training.encoding import encode_document, examples_of
from specialists.training.evaluate import evaluate
from specialists.training.finetune import finetune
from specialists.training.inspection import inspect
from specialists.training.lessons import lessons_of, read_lessons
from specialists.training.lora_network import with_adapter
from specialists.training.objective import objective
from specialists.training.recipe import Recipe

TEXTS = [f"The quick brown fox jumps over the lazy {word}." for word in ("dog", "number", "raise")]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def tokenizer(small):
    return Tokenizer.from_folder(small.folder)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (lines({"text": "a\n\nb", "date": 3}), "posts.jsonl"),
        (json.dumps([{"text": "a\n\nb"}]).encode(), "posts.json"),
        (b"\xef\xbb\xbfa\n\nb\n", "post.md"),
        (b"  a\n\nb", "POST.TXT"),
    ],
)
def test_every_form_is_the_same_document(content, name):
    assert lessons_of(content, name) == [Document(text="a\n\nb")]


def test_a_chat_that_has_a_text_too_is_a_chat():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    [row] = lessons_of(lines({"messages": turns, "text": "x"}), "rows.jsonl")
    assert row.answer.content == "b"


def test_what_is_wrong_with_a_document_is_said_with_its_place():
    rows = [{"text": "a"}, {"text": " "}, {"text": 3}, [], {"messages": []}]
    reading = read_lessons(lines(*rows), "posts.jsonl")
    assert len(reading.rows) == 1
    assert [problem.partition(":")[0] for problem in reading.problems] == [
        f"line {number}" for number in (2, 3, 4, 5)
    ]
    for content, said in ((b" \n", "has no text"), (b"\xff\xfe\xfa", "cannot be read as UTF-8")):
        with pytest.raises(TrainingDataError, match=said):
            lessons_of(content, "post.md")


def test_all_of_a_document_is_learnt_piece_by_piece(tokenizer):
    document = Document(text=" ".join(TEXTS))
    whole = [*tokenizer.encode_part(document.text), *tokenizer.eos]
    [one] = encode_document(document, tokenizer, 512)
    assert one.tokens == whole
    assert one.count == len(whole) - 1
    parts = encode_document(document, tokenizer, 10)
    assert [token for part in parts for token in part.tokens] == whole
    assert all(len(part.tokens) <= 10 for part in parts)
    with pytest.raises(TrainingDataError, match="documents have none"):
        examples_of(document, tokenizer, 10, "be brief")


def test_the_loss_is_that_of_every_token(small, tokenizer):
    network = with_adapter(small, Recipe(rank=2)).float()
    documents = [
        example
        for text in TEXTS
        for example in encode_document(Document(text=text), tokenizer, 512)
    ]
    losses, _ = objective(network, documents)
    expected = [
        F.cross_entropy(
            network(torch.tensor([each.tokens])).logits[0, :-1], torch.tensor(each.tokens[1:])
        )
        * each.count
        for each in documents
    ]
    torch.testing.assert_close(losses.sum(), sum(expected), rtol=1e-4, atol=1e-4)


def test_documents_are_learnt_and_judged_by_how_surprising_they_are(small, tmp_path):
    documents = [Document(text=text) for text in TEXTS]
    recipe = Recipe(rank=4, epochs=8, batch_size=3, learning_rate=2e-2)
    trained = finetune(small, documents, tmp_path, recipe, lambda _: None)
    assert (trained.rows, trained.left_out) == (3, 0)
    [score] = evaluate(small, AdapterFiles.in_folder(tmp_path), documents, "digest")
    assert score.metric == "perplexity"
    assert score.value < score.base_value / 2


def test_documents_are_looked_at_before_they_are_learnt(tokenizer):
    found = inspect(
        read_lessons(lines(*({"text": text} for text in [*TEXTS, TEXTS[0]])), "x"), tokenizer, 1000
    )
    assert (found.rows, found.repeated, found.contradictions) == (4, ["line 4"], [])
    assert found.learnt == found.tokens > 0
