"""How often is the router right, how well does it know, and what does it refuse?

Any folder of labelled requests will do: train*.jsonl (a setting each), test.jsonl, and perhaps
val.jsonl and oos_*.jsonl, of rows {"text", "label"}; or a folder of folders with train.jsonl and
heldout.jsonl or test.jsonl of chat rows, such as examples/. Every label becomes a specialist, as if
it had been registered with its requests as examples and its name as description; then every request
of the test set is decided on by the policy itself. The threshold of refusal is also set as an
operator would: on validation data, so that at most 4% of its requests are refused. semantic-router
runs beside it on the same examples and the same encoder's vectors, calibrated on the same
validation data.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.peers import PYTHON
from benchmarks.report import Row, at_least, at_most, write_json
from deploy.encoder import open_encoder
from registry.card import Card
from router.routing.compact import Compact
from router.routing.copies import distinct
from router.routing.encoder import Encoder, Vectors
from router.routing.general import base_requests, follow_up_probe
from router.routing.index import score
from router.routing.policy import POOL, Policy
from router.routing.refiner import settled
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.view import routing_view
from specialists.training.card import MAX_EXAMPLES, spread

OWNER = "bench"
REFUSED = 0.04
"""Share of the validation requests that may be refused."""
MOST_EXAMPLES = 512
BINS = 15
TEN = 10
SAMPLED = 200
"""Requests for which all specialists are scored exactly."""
SCRIPT = Path(__file__).parent / "peers" / "semantic_router_peer.py"
TARGETS = {"full": 0.965, "10 shots": 0.92, "5 shots": 0.89, "name only": 0.75}
Labelled = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Data:
    """What a folder holds: settings by name, and requests with their labels, or with none."""

    settings: Mapping[str, Labelled]
    test: Labelled
    val: Labelled
    outside_val: list[str]
    outside: list[str]

    @property
    def asked(self) -> list[str]:
        """All texts that are decided on."""
        texts = [text for text, _ in self.val + self.test]
        return [*texts, *self.outside_val, *self.outside]


@dataclass(frozen=True, slots=True)
class Answers:
    """Of some requests the label that was found likeliest, how likely, and the fit.

    `confident` is what is calibrated, `fit` what refusal goes by; of a peer both are the same.
    """

    labels: list[str]
    confident: NDArray[np.float64]
    fit: NDArray[np.float64]


class Remembered:
    """An encoder that has read all texts before."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self.name, self.identity = encoder.name, encoder.identity
        self.dimensions, self.windows, self.count = (
            encoder.dimensions,
            encoder.windows,
            encoder.count,
        )
        new = list(dict.fromkeys(texts))
        parts = [new[at : at + 256] for at in range(0, len(new), 256)]
        read = [encoder.encode(part) for part in track(parts, "Reading", console=ERRORS)]
        self._vectors = dict(zip(new, np.concatenate(read), strict=True))

    def encode(self, texts: list[str]) -> Vectors:
        """Their vectors."""
        return np.stack([self._vectors[text] for text in texts])


ERRORS = Console(stderr=True)


def json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line."""
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, filter(str.strip, lines))


def read(file: Path) -> Labelled:
    """A file's texts and labels; none where there is no file."""
    if not file.exists():
        return []
    return [(row["text"], row.get("label", "")) for row in json_lines(file)]


def few(rows: Labelled, shots: int, seed: int) -> Labelled:
    """So many rows of each label, drawn at random."""
    random, found = Random(seed), []
    for label in sorted({label for _, label in rows}):
        texts = sorted({text for text, each in rows if each == label})
        found += [(text, label) for text in random.sample(texts, min(shots, len(texts)))]
    return found


def chats(folder: Path, part: str, most: int | None = None) -> Labelled:
    """The requests of chat rows in `*/part.jsonl`, labelled with the folders' names."""
    found: Labelled = []
    for file in sorted(folder.glob(f"*/{part}.jsonl")):
        asked = [
            [turn["content"] for turn in row["messages"] if turn["role"] == "user"][-1]
            for row in json_lines(file)
        ]
        some = spread(asked, most) if most else asked
        found += [(text, file.parent.name) for text in some]
    return found


def load(folder: Path, shots: Sequence[int], seed: int, outside: Path | None) -> Data:
    """What is in a folder, and requests beside it that are for none of its labels."""
    if not any(folder.glob("train*.jsonl")):
        train = chats(folder, "train", MAX_EXAMPLES)
        test = chats(folder, "heldout") or chats(folder, "test")
        if not train or not test:
            raise SystemExit(f"{folder} has no train*.jsonl, nor folders that have one")
        more = [text for text, _ in read(outside)] if outside else []
        return Data({"full": train}, test, [], [], more)
    return labelled(folder, shots, seed)


def labelled(folder: Path, shots: Sequence[int], seed: int) -> Data:
    """Every train*.jsonl of a folder, few rows of the first, and names alone."""
    files = sorted(folder.glob("train*.jsonl"))
    settings = {"full" if file.stem == "train" else file.stem: read(file) for file in files}
    first = read(files[0])
    settings |= {f"{count} shots": few(first, count, seed) for count in shots}
    settings["name only"] = [("", label) for label in sorted({label for _, label in first})]
    outside = {
        part: [text for text, _ in read(folder / f"oos_{part}.jsonl")]
        for part in ("train", "val", "test")
    }
    return Data(
        settings,
        read(folder / "test.jsonl"),
        read(folder / "val.jsonl"),
        outside["val"] + outside["train"],
        outside["test"],
    )


def cards(rows: Labelled) -> dict[str, Card]:
    """A card per label."""
    found: dict[str, list[str]] = {}
    for text, label in rows:
        found.setdefault(label, []).extend([text] if text.strip() else [])
    return {
        label: Card.of({
            "id": f"{OWNER}/label-{number}",
            "description": re.sub(r"[_\W]+", " ", label).strip() or label,
            "examples": texts[:MOST_EXAMPLES],
        })
        for number, (label, texts) in enumerate(sorted(found.items()))
    }  # fmt: skip


def snapshot(made: Mapping[str, Card], encoder: Encoder, general: Vectors) -> Snapshot:
    """What a replica routes by once all cards were registered and it had time to refine."""
    return settled(Snapshot(1, routes_of(made, encoder), general, follow_up_probe(general)))


def routes_of(made: Mapping[str, Card], encoder: Encoder) -> list[Route]:
    """The routes of some cards."""
    return [
        Route(card.id, 1, f"sha256:{card.id}", Compact.of(distinct(encoder.encode(card.routed_by))))
        for card in made.values()
    ]


def decide(
    shown: Snapshot, made: Mapping[str, Card], encoder: Encoder, texts: Sequence[str]
) -> tuple[Answers, float]:
    """What the policy finds likeliest for each text, and the median milliseconds it took."""
    policy, labels = Policy(), {card.id: label for label, card in made.items()}
    decisions, times = [], []
    for text in texts:
        begun = time.perf_counter()
        decisions.append(policy.decide(shown, encoder, [text]))
        times.append(time.perf_counter() - begun)
    best = [labels[each.candidates[0].specialist] for each in decisions]
    confident = np.array([each.candidates[0].score for each in decisions])
    fit = np.array([each.evidence.fit if each.evidence else 0.0 for each in decisions])
    return Answers(best, confident, fit), 1000 * median(times)


def found(shown: Snapshot, encoder: Encoder, texts: Sequence[str]) -> float:
    """Of the ten specialists that score best, the share that the index gives the policy to decide.

    The index looks at few coordinates of most of them; here all are scored exactly.
    """
    shares = []
    for vector in encoder.encode(list(texts)):
        prior = shown.near_general(vector)
        exact = {route.specialist: score(route.vectors, vector, prior) for route in shown.routes}
        best = sorted(exact, key=exact.__getitem__, reverse=True)[:TEN]
        given = {route.specialist for route, _ in shown.nearest(vector, POOL, prior)}
        shares.append(np.mean([each in given for each in best]))
    return float(np.mean(shares))


def peer(made: Mapping[str, Card], encoder: Remembered, data: Data) -> tuple[Answers, float] | None:
    """The same of semantic-router; None where it is not installed."""
    if not PYTHON.exists():
        return None
    fit = [[text, label] for text, label in data.val] + [[text, None] for text in data.outside_val]
    routes = {label: list(card.routed_by) for label, card in made.items()}
    texts = list(dict.fromkeys([*data.asked, *(text for some in routes.values() for text in some)]))
    asked = {"routes": routes, "fit": fit, "texts": data.asked}
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, texts=np.array(texts), vectors=encoder.encode(texts))
        file.flush()
        ran = subprocess.run(
            [PYTHON, SCRIPT, file.name], input=json.dumps(asked), capture_output=True, text=True
        )
    if ran.returncode:
        ERRORS.print(f"semantic-router is left out: {ran.stderr.strip()[-300:]}")
        return None
    said = json.loads(ran.stdout)
    scores = np.array(said["scores"])
    return Answers(said["names"], scores, scores), said["milliseconds"]


def calibration_error(confident: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""
    bins = np.minimum((confident * BINS).astype(int), BINS - 1)
    gaps = [
        abs(confident[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean()
        for each in np.unique(bins)
    ]
    return float(sum(gaps))


def figures(name: str, answers: Answers, data: Data, threshold: float | None) -> list[Row]:
    """What is reported of one setting; `threshold` is the one of refusal, if there is any."""
    wanted = [label for _, label in data.val + data.test]
    inside = len(wanted)
    right = np.array([a == b for a, b in zip(answers.labels[:inside], wanted, strict=True)])
    val, test = slice(0, len(data.val)), slice(len(data.val), inside)
    outside = slice(inside + len(data.outside_val), None)
    shots = name.rpartition(": ")[2]
    accuracy = float(right[test].mean())
    target = TARGETS.get(shots) if name.startswith("myriad") else None
    rows = [
        at_least(f"{name}: right", accuracy, "share", target)
        if target
        else Row(f"{name}: right", accuracy, "share")
    ]
    error = calibration_error(answers.confident[test], right[test])
    rows.append(at_most(f"{name}: calibration error", error, "share", 0.03))
    if data.outside:
        asked = np.concatenate([answers.confident[test], answers.confident[outside]])
        known = np.concatenate([right[test], np.zeros(len(data.outside), dtype=np.bool_)])
        mixed = calibration_error(asked, known)
        rows.append(Row(f"{name}: calibration error, those outside counted in", mixed, "share"))
    if threshold is not None:
        refused = answers.fit < threshold
        rows += [
            Row(f"{name}: answered by another", float((~refused[test] & ~right[test]).mean()), ""),
            Row(f"{name}: refused", float(refused[test].mean()), "share"),
        ]
        if data.outside:
            rows.append(Row(f"{name}: outside refused", float(refused[outside].mean()), "share"))
    if data.outside and data.val:
        set_ = float(np.quantile(answers.fit[val], REFUSED))
        refused = answers.fit < set_
        rows += [
            Row(f"{name}: refused, threshold set on validation", float(refused[test].mean()), ""),
            at_least(
                f"{name}: outside refused, threshold set on validation",
                float(refused[outside].mean()),
                "share",
                0.86,
            ),
        ]
    return rows


def run(data: Data, encoder: Path | None = None) -> Iterator[Row]:
    """All settings of a folder, ours and the peer's."""
    texts = [text for rows in data.settings.values() for text, _ in rows]
    names = [card.description for card in cards(next(iter(data.settings.values()))).values()]
    plain = open_encoder(2, None if encoder is None else str(encoder))
    texts = [*data.asked, *(text.strip() for text in texts), *names]
    vectors = Remembered(plain, texts)
    ours = Remembered(routing_view(plain), [*texts, *base_requests()])
    general = ours.encode(base_requests())
    for setting, rows in data.settings.items():
        made = cards(rows)
        begun = time.perf_counter()
        shown = snapshot(made, ours, general)
        yield Row(f"myriad: {setting}: refining", time.perf_counter() - begun, "s")
        answers, took = decide(shown, made, ours, data.asked)
        yield from figures(f"myriad: {setting}", answers, data, Policy().threshold)
        yield Row(f"myriad: {setting}: a decision, read before", took, "ms")
        share = found(shown, ours, [text for text, _ in data.test[:SAMPLED]])
        yield at_least(f"myriad: {setting}: found of the ten best", share, "share", 0.98)
        if (theirs := peer(made, vectors, data)) is not None:
            yield from figures(f"semantic-router: {setting}", theirs[0], data, None)
            yield Row(f"semantic-router: {setting}: a decision, read before", theirs[1], "ms")


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shots", type=int, nargs="*", default=[10, 5])
    parser.add_argument("--outside", type=Path, help="requests that are for none, {text} a line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", type=Path, help="folder of another encoder than the usual one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    table = Table("what", "value", "", "target")
    data = load(options.data, options.shots, options.seed, options.outside)
    for row in run(data, options.encoder):
        rows.append(row)
        target = "" if row.target is None else f"{row.target:g} {'met' if row.met else 'MISSED'}"
        table.add_row(row.name, f"{row.value:.3f}", row.unit, target)
    Console().print(table)
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
