"""The demo specialists, asked by an unmodified OpenAI client."""

import json
import re

import pytest

from deploy.demos import EXAMPLES
from registry.card import Card

SPOKEN = {"demo/salary-coach", "demo/captain-juniper"}
FORMS = {
    "demo/action-items": r"(- \[ \] .+ \((due .+|no date)\)\n?)+",
    "demo/captain-juniper": r"(?s).{40,}",
    "demo/city-desk": r"Department: .+ \| Urgency: (now|soon|routine) \| Reply: .+",
    "demo/commit-message": r"(feat|fix|docs|refactor|test|perf|chore|ci)(\([^)]+\))?: .+",
    "demo/salary-coach": r'(?s)Manager: ".+"\nCoach: .+',
    "demo/support-extractor": r'\{"product": .+, "issue": ".+", "order_id": .+, "urgency": ".+"\}',
}
NOT_THEIRS = [
    "What is the capital of France?",
    "Who wrote Romeo and Juliet?",
    "hello",
    "Explain how a rainbow forms.",
    "What is 12 times 12?",
    "Tell me a joke about penguins",
]


def heldout(demo: str) -> list[dict]:
    file = EXAMPLES / demo.removeprefix("demo/") / "heldout.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def card(demo: str) -> Card:
    return Card.parse(
        (EXAMPLES / demo.removeprefix("demo/") / "adapter" / "card.yaml").read_bytes()
    )


def test_all_demos_are_there(client):
    ids = {model.id for model in client.models.list()}
    assert ids >= {"auto", "SmolLM2-135M-Instruct", *FORMS}


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_auto_picks_the_demo_for_requests_that_are_not_among_its_examples(cluster, demo):
    openers = [row["messages"][0]["content"] for row in heldout(demo)]
    assert not set(openers) & set(card(demo).examples)
    with cluster.http() as http:
        routed = [
            http.post("/v1/route", json={"input": opener}).json()["specialist"]
            for opener in openers
        ]
    right = sum(specialist == demo for specialist in routed)
    strays = [pair for pair in zip(openers, routed, strict=True) if pair[1] != demo]
    assert right / len(openers) >= 0.9, strays


@pytest.mark.parametrize("text", NOT_THEIRS)
def test_what_is_nobodys_goes_to_the_base(cluster, text):
    with cluster.http() as http:
        decision = http.post("/v1/route", json={"input": text}).json()
    assert decision["specialist"] is None, decision


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_an_answer_has_the_form_that_the_demo_promises(client, demo):
    asked = [row["messages"][:1] for row in heldout(demo)[:6]]
    answers = [
        client.chat.completions.create(model=demo, messages=messages, temperature=0, max_tokens=120)
        for messages in asked
    ]
    texts = [answer.choices[0].message.content for answer in answers]
    formed = [bool(re.fullmatch(FORMS[demo], text)) for text in texts]
    assert sum(formed) >= 5, texts
    assert answers[0].model == demo
    assert answers[0].model_extra["routing"]["specialist"] == demo


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_a_card_states_a_clear_win_over_the_bare_base(demo):
    scores = {score.metric: score for score in card(demo).evaluation}
    perplexity, f1 = scores["perplexity"], scores["token_f1"]
    assert perplexity.value < perplexity.base_value / 2
    assert f1.value > f1.base_value * 1.5
    if demo not in SPOKEN:
        assert f1.value > 0.6


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_an_adapter_is_small(demo):
    folder = EXAMPLES / demo.removeprefix("demo/") / "adapter"
    assert (folder / "adapter_model.safetensors").stat().st_size <= 2_000_000
