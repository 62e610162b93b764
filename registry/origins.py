"""What a version was made from, written down when it is registered."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from registry import queries
from registry.card import Card
from registry.errors import InvalidCard, InvalidReference
from registry.manifest import Manifest
from registry.reference import parse_reference
from registry.tables import origins
from registry.view import View

BASE, PARENT, TEACHER, DATASET, EVALUATION, JOB = (
    "base", "parent", "teacher", "dataset", "evaluation", "job",
)  # fmt: skip
RELATIONS = (BASE, PARENT, TEACHER, DATASET, EVALUATION, JOB)


@dataclass(frozen=True, slots=True)
class Origin:
    """One thing that a version was made from.

    Attributes:
        relation: one of RELATIONS.
        subject: what names it for good: another version's digest, a file's, or a name.
        label: its name for people.
        license: under which it stands, where that is known.
    """

    relation: str
    subject: str
    label: str
    license: str | None = None


def note(
    connection: Connection,
    version: int,
    card: Card,
    manifest: Manifest,
    base_license: str | None,
    view: View,
) -> None:
    """Write down the origins of a new version.

    Raises:
        InvalidCard: a parent is not registered.
    """
    found = [*_declared(card, manifest.base, base_license), *_parents(connection, card, view)]
    rows = [asdict(each) | {"version": version} for each in _distinct(found)]
    connection.execute(insert(origins), rows)


def note_data(connection: Connection, version: int, data: str) -> None:
    """Write down what a version was scored on, unless it is written down."""
    named = {"version": version, "relation": EVALUATION, "subject": data}
    known = select(origins.c.version).where(*(origins.c[key] == named[key] for key in named))
    if connection.execute(known).first() is None:
        connection.execute(insert(origins).values(**named, label=data))


def _distinct(found: Iterable[Origin]) -> Iterable[Origin]:
    return {(each.relation, each.subject): each for each in found}.values()


def _declared(card: Card, base: str, base_license: str | None) -> Iterator[Origin]:
    yield Origin(BASE, base, base, base_license)
    for score in card.evaluation:
        if score.data is not None:
            yield Origin(EVALUATION, score.data, score.data)
    if card.origins is None:
        return
    for teacher in card.origins.teachers:
        yield Origin(TEACHER, teacher.name, teacher.name, teacher.license)
    for data in card.origins.datasets:
        yield Origin(DATASET, data.digest or data.name, data.name, data.license)
    if card.origins.job is not None:
        yield Origin(JOB, card.origins.job, card.origins.job)


def _parents(connection: Connection, card: Card, view: View) -> Iterator[Origin]:
    texts = card.origins.parents if card.origins is not None else ()
    for at, text in enumerate(texts):
        field = f"origins.parents[{at}]"
        try:
            reference = parse_reference(text)
        except InvalidReference as error:
            raise InvalidCard(error.message, field) from None
        row = connection.execute(queries.any_version(reference, view)).first()
        if row is None:
            raise InvalidCard(f"'{text}' is not registered here; register it first.", field)
        terms = json.loads(row.card).get("license")
        yield Origin(PARENT, row.digest, f"{row.specialist}@{row.number}", terms)
