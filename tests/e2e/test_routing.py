"""The real encoder, its layers and its kernels, and what others can pull in with it."""

from random import Random

import numpy as np
import pytest

from deploy.demos import EXAMPLES
from deploy.encoder import open_encoder
from registry.card import Card
from router.routing.batching import Batched
from router.routing.compact import Compact
from router.routing.copies import distinct
from router.routing.encoder import SentenceEncoder
from router.routing.encoder_folder import EncoderFolder
from router.routing.encoder_network import TorchEncoder
from router.routing.general import general_requests
from router.routing.policy import Policy
from router.routing.refiner import settled
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.view import base_vectors, routing_view
from specialists.machine import cores
from specialists.training.data import read_rows

DEMOS = sorted(folder.name for folder in EXAMPLES.iterdir())
VICTIM = "demo/city-desk"
CAPTURED = 0.05
"""Share of a specialist's requests that another owner's may pull in with its examples, edited."""


def card(name: str) -> Card:
    return Card.parse((EXAMPLES / name / "card.yaml").read_bytes())


def requests(name: str, part: str, most: int) -> list[str]:
    rows = [row.first_request for row in read_rows(EXAMPLES / name / f"{part}.jsonl")]
    return Random(0).sample(rows, min(most, len(rows)))


@pytest.fixture(scope="module")
def view(prepared_home):
    return routing_view(open_encoder(cores()), prepared_home / "cache")


@pytest.fixture(scope="module")
def encoder(view):
    return Batched(view)


def made(encoder, name: str, texts: list[str], since: float) -> Route:
    vectors = Compact.of(distinct(encoder.encode(texts)))
    return Route(name, 1, f"sha256:{name}", vectors, since)


def refined(routes: list[Route], general) -> Snapshot:
    return settled(Snapshot(1, routes, general))


@pytest.fixture(scope="module")
def routes(encoder):
    return [
        made(encoder, f"demo/{name}", [*card(name).routed_by, *requests(name, "train", 120)], 1.0)
        for name in DEMOS
    ]


@pytest.fixture(scope="module")
def general(view, prepared_home):
    return base_vectors(view, prepared_home / "cache")


def share(encoder, snapshot: Snapshot, texts: list[str], specialist: str) -> float:
    decisions = [Policy().decide(snapshot, encoder, [text]) for text in texts]
    return float(np.mean([each.specialist == specialist for each in decisions]))


def test_the_kernels_give_the_vectors_that_torch_gives():
    texts = [text for name in DEMOS for text in requests(name, "heldout", 5)]
    folder = EncoderFolder.packaged()
    adapted, plain = TorchEncoder(folder.path, adapter=folder.adapter), TorchEncoder(folder.path)
    kernels, torch = open_encoder(1), SentenceEncoder(folder, adapted, lambda: plain)
    assert (kernels.encode(texts) * torch.encode(texts)).sum(axis=1).min() > 0.995
    assert (kernels.layers(texts) * torch.layers(texts)).sum(axis=1).min() > 0.998


def test_requests_worded_unlike_the_examples_reach_their_specialist(encoder, routes, general):
    snapshot = refined(routes, general)
    found = [
        share(encoder, snapshot, requests(name, "heldout", 60), f"demo/{name}") for name in DEMOS
    ]
    assert np.mean(found) > 0.88
    others = list(general_requests()[::20])
    assert share(encoder, snapshot, others, None) > 0.95


EDITS = {
    "as they are": lambda text: text,
    "shouted": lambda text: f"{text.upper()}!",
    "politely": lambda text: f"please {text}",
    "with a word more": lambda text: f"{text} today",
    "twice": lambda text: f"{text} {text}",
}


@pytest.mark.parametrize(
    ("edit", "count"), [*((edit, 160) for edit in EDITS), ("shouted", 10), ("shouted", 1)]
)
def test_edited_copies_of_anothers_examples_pull_in_little(encoder, routes, general, edit, count):
    name = VICTIM.partition("/")[2]
    asked = requests(name, "heldout", 40)
    plain = refined(routes, general)
    before = share(encoder, plain, asked, VICTIM)
    stolen = [*card(name).routed_by, *requests(name, "train", 120)][:count]
    thief = made(encoder, "eve/thief", [EDITS[edit](text) for text in stolen], 2.0)
    changed = plain.changed(2, {thief.specialist: thief})
    for snapshot in (refined([*routes, thief], general), changed):
        assert share(encoder, snapshot, asked, VICTIM) >= before - CAPTURED
        assert share(encoder, snapshot, asked, thief.specialist) <= CAPTURED
