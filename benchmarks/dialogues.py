"""Does the specialist stay while the topic does, and go when it changes?

A hundred dialogues of ten turns among the demo specialists. Each begins with a held-out request of
one and changes to another's after three to seven turns; what lies between are follow-ups
(`dialogues.json`: twelve written for each topic, twelve for any). Every turn is decided on with all
turns before it, as a chat sends them, and should reach the specialist of its topic.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from rich.progress import track

from benchmarks.report import Row, at_least, show, write_json
from benchmarks.routing import ERRORS, Labelled, cards, chats, snapshot
from deploy.demos import EXAMPLES
from deploy.encoder import open_encoder
from router.routing.batching import Batched
from router.routing.general import base_requests
from router.routing.policy import Policy
from router.routing.view import routing_view
from specialists.training.card import MAX_EXAMPLES

FOLLOW_UPS: dict[str, list[str]] = json.loads(
    Path(__file__).with_suffix(".json").read_text("utf-8")
)
TURNS = 10
GENERIC = 0.4
"""Share of the follow-ups that are of no topic."""


def dialogues(count: int, seed: int) -> Iterator[Labelled]:
    """Turns with their topics."""
    draw, openings = Random(seed), chats(EXAMPLES, "heldout")
    topics = sorted({topic for _, topic in openings})
    for _ in range(count):
        turns: Labelled = []
        change = draw.randint(3, 7)
        for topic, until in zip(draw.sample(topics, 2), (change, TURNS), strict=True):
            turns.append(draw.choice([each for each in openings if each[1] == topic]))
            own, anyones = (
                draw.sample(FOLLOW_UPS[name], len(FOLLOW_UPS[name])) for name in (topic, "anyone")
            )
            while len(turns) < until:
                turns.append(((anyones if draw.random() < GENERIC else own).pop(), topic))
        yield turns


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the turns that went elsewhere")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder = Batched(routing_view(open_encoder(2)))
    made = cards(chats(EXAMPLES, "train", MAX_EXAMPLES))
    topics = {card.id: topic for topic, card in made.items()}
    shown = snapshot(made, encoder, encoder.encode(base_requests()))
    policy, right = Policy(), []
    written = list(dialogues(options.dialogues, options.seed))
    for turns in track(written, "Deciding", console=ERRORS):
        for at, (text, topic) in enumerate(turns):
            decision = policy.decide(shown, encoder, [said for said, _ in turns[: at + 1]])
            found = topics.get(decision.specialist or "", "the base")
            right.append((found == topic, at, topic != turns[max(at - 1, 0)][1]))
            if options.show and found != topic:
                print(f"{topic} -> {found}: {text!r} ({decision.reason})")
    hits, places, changed = (np.array(column) for column in zip(*right, strict=True))
    rows = [
        at_least("right specialist, all turns", float(hits.mean()), "share", 0.9),
        Row("right specialist, first turns", float(hits[places == 0].mean()), "share"),
        Row("right specialist, where the topic changes", float(hits[changed].mean()), "share"),
        Row("right specialist, follow-ups", float(hits[(places > 0) & ~changed].mean()), "share"),
    ]
    show(rows)
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
