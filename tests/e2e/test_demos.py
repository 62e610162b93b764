"""The demo specialists, asked by an unmodified OpenAI client."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache

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
REQUESTS: dict[str | None, list[str]] = {
    "demo/salary-coach": [
        "My boss offered me a 2% raise, how do I ask for more?",
        "Can you help me practise negotiating a job offer?",
        "I got an offer for 72k but I expected 80k, what do I say?",
        "How do I ask my manager for a pay rise after a good year?",
        "Let's role-play: I ask you for a raise",
        "They want to know my salary expectations, what should I answer?",
        "The recruiter says the budget is fixed at 55,000.",
    ],
    "demo/captain-juniper": [
        "How do I keep aphids off my roses on the balcony?",
        "My tomato plants look droopy, help!",
        "When should I plant basil seeds?",
        "Captain, what soil do I use for my herbs?",
        "Which flowers do well in a shady window box?",
        "how often do i water my succulents",
        "tell me about your airship, captain",
    ],
    "demo/support-extractor": [
        "My order 55123 arrived with a broken screen and I want my money back.",
        "I was charged twice for my subscription this month, please fix it.",
        "The headphones I bought stopped working after two days. Order #8812.",
        "where is my package? order 77123 should have been here last week",
        "You sent me the wrong size shoes, order 9921",
        "I can't log in to my account any more",
    ],
    "demo/city-desk": [
        "There is a huge pothole on Main Street in front of the school.",
        "The street light outside 12 Oak Avenue has been out for a week.",
        "My neighbours play loud music every night until 3am, can the city do something?",
        "The garbage was not collected on Birch Road today.",
        "A water pipe has burst on Mill Lane!",
        "There's a stray dog running around the playground on Park Street",
    ],
    "demo/commit-message": [
        "Fixed the bug where the login button did nothing on mobile",
        "commit message for: added dark mode to the settings page",
        "updated the readme with install instructions",
        "the api now returns 404 instead of 500 when a user does not exist",
        "removed unused imports from the parser module",
        "bumped requests to 2.32",
    ],
    "demo/action-items": [
        "Meeting notes: Anna will send the report by Friday. Tom books the room for Tuesday.",
        "We agreed that Lisa updates the website and Mark calls the supplier by Monday",
        "Standup: Priya finishes the tests today, Joe reviews the PR tomorrow.",
        "In the call, Sam said he'd share the slides by Wednesday. Nina will draft the budget.",
    ],
    None: [
        "What is the capital of France?",
        "Who wrote Romeo and Juliet?",
        "hello",
        "Explain how a rainbow forms.",
        "What is 12 times 12?",
        "Tell me a joke about penguins",
        "Write a short poem about the sea",
        "How does photosynthesis work?",
        "Who was the first man on the moon?",
        "Give me a recipe for pancakes",
        "What's the weather like today?",
        "thank you",
        "Translate 'good night' to German",
        "How do I reverse a string in Python?",
        "What is the meaning of life?",
    ],
}


def heldout(demo: str) -> list[dict]:
    file = EXAMPLES / demo.removeprefix("demo/") / "heldout.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


@cache
def card(demo: str) -> Card:
    return Card.parse(
        (EXAMPLES / demo.removeprefix("demo/") / "adapter" / "card.yaml").read_bytes()
    )


def test_all_demos_are_there(client):
    ids = {model.id for model in client.models.list()}
    assert ids >= {"auto", "SmolLM2-135M-Instruct", *FORMS}


def routed(cluster, text: str) -> str | None:
    with cluster.http() as http:
        return http.post("/v1/route", json={"input": text}).json()["specialist"]


def test_auto_picks_right_for_nearly_all_requests_that_are_not_among_the_examples(cluster):
    asked = [(who, text) for who, texts in REQUESTS.items() for text in texts]
    assert not {text for _, text in asked} & {
        example for demo in FORMS for example in card(demo).examples
    }
    wrong = [(who, text) for who, text in asked if routed(cluster, text) != who]
    assert len(wrong) <= len(asked) // 10, wrong


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_most_held_out_requests_find_their_demo_though_worded_far_from_its_examples(cluster, demo):
    openers = [row["messages"][0]["content"] for row in heldout(demo)]
    assert not set(openers) & set(card(demo).examples)
    right = [routed(cluster, opener) == demo for opener in openers]
    assert sum(right) / len(right) >= 0.6


@pytest.mark.parametrize("demo", sorted(FORMS))
def test_an_answer_has_the_form_that_the_demo_promises(client, demo):
    def ask(messages: list[dict]):
        return client.chat.completions.create(
            model=demo, messages=messages, temperature=0, max_tokens=120
        )

    with ThreadPoolExecutor() as asking:
        answers = list(asking.map(ask, [row["messages"][:1] for row in heldout(demo)[:6]]))
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
