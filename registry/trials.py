"""Trials of versions: how their answers fare beside those of the version in service.

A canary whose answers fail more often, or are called bad more often, than those of the version that
its alias points to loses its share by itself, in the transaction that brings the news.
"""

import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from registry import audit, moves, queries
from registry.clock import now
from registry.database import Database
from registry.errors import UnknownAnswer
from registry.rating import Rating
from registry.reference import parse_id
from registry.tables import canaries, conversations, feedback, outcomes, secrets, versions

MAX_CORRECTION = 100_000
_ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many answers of a version came to their end, and how many failed."""

    answered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """When a canary is taken back.

    Attributes:
        margin: by how much a share of its answers may be worse than of the version in service.
        least: of how many answers, or ratings, at least.
    """

    margin: float = 0.1
    least: int = 20


USUAL = Guard()


@dataclass(frozen=True, slots=True)
class Record:
    """How a version has fared since a trial began."""

    number: int
    answered: int
    failed: int
    rated: int
    bad: int

    @property
    def ended(self) -> int:
        """Answers that came to an end of either kind."""
        return self.answered + self.failed


class Trials:
    """News of how answers fare. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """News of a registry; `owner` is whose keys bring them."""
        self._database = database
        self._owner = owner

    def secret(self) -> bytes:
        """What this registry's answers are marked with, the same for all who open it."""
        named = secrets.c.name == _ANSWERS
        with self._database.read() as connection:
            value = connection.scalar(select(secrets.c.value).where(named))
        if value is None:
            with self._database.write() as connection:
                value = connection.scalar(select(secrets.c.value).where(named))
                if value is None:
                    value = random.token_hex(32)
                    connection.execute(insert(secrets).values(name=_ANSWERS, value=value))
        return bytes.fromhex(value)

    def note(self, tallies: Mapping[str, Tally]) -> list[str]:
        """Add up how answers of versions on trial, by digest, ended.

        Returns:
            What is to be said of canaries that were taken back.
        """
        verdicts = []
        with self._database.write() as connection:
            for digest, tally in tallies.items():
                version = connection.execute(queries.by_digest(digest)).one_or_none()
                if version is not None:
                    _add(connection, version.id, tally)
                    verdicts += _judge(connection, version.specialist)
        return verdicts

    def rate(
        self, answer: str, prefix: str, rating: Rating, correction: str | None = None
    ) -> tuple[str, int]:
        """Keep what somebody thinks of an answer; what was said of it before is forgotten.

        An edit by the specialist's owner stays, unless it is the owner who says something else.

        Args:
            answer: its id.
            prefix: the beginning of the digest of the version that gave it.
            rating: what they think.
            correction: what it should have been.

        Returns:
            The specialist and the number of the version.

        Raises:
            UnknownAnswer: no version's digest begins so.
        """
        with self._database.write() as connection:
            version = connection.execute(queries.beginning_with(prefix)).one_or_none()
            if version is None:
                raise UnknownAnswer(answer)
            editor = parse_id(version.specialist).owner
            self._note(connection, answer, version.id, (rating, correction), editor)
            _judge(connection, version.specialist)
        return version.specialist, version.number

    def rate_base(self, answer: str, rating: Rating, correction: str | None = None) -> None:
        """Keep what somebody thinks of an answer of the base; see `rate`.

        An edit by whoever asked stays, if the conversation was kept, until they say otherwise.
        """
        asker = select(conversations.c.owner).where(conversations.c.id == answer)
        with self._database.write() as connection:
            editor = connection.scalar(asker)
            self._note(connection, answer, None, (rating, correction), editor)

    def _note(
        self,
        connection: Connection,
        answer: str,
        version: int | None,
        said: tuple[Rating, str | None],
        editor: str | None,
    ) -> None:
        """Note a rating and an edit; of others' edits only the `editor`'s stay as they are."""
        rating, *edit = *said, self._owner
        if self._owner not in (None, editor):
            edit = _edit_by(connection, editor, answer) or edit
        connection.execute(delete(feedback).where(feedback.c.answer == answer))
        values = {"rating": rating, "correction": edit[0], "owner": edit[1], "created": now()}
        connection.execute(insert(feedback).values(answer=answer, version=version, **values))


def _edit_by(connection: Connection, editor: str | None, answer: str) -> list[str | None] | None:
    """What the editor wants said in an answer's place, if they said it."""
    said = select(feedback.c.correction, feedback.c.owner).where(feedback.c.answer == answer)
    row = connection.execute(said.where(feedback.c.correction.is_not(None))).one_or_none()
    return None if row is None or editor is None or row.owner != editor else list(row)


def records(connection: Connection, specialist: str, alias: str) -> list[Record]:
    """How what an alias points to and what is tried in its place fare; none if nothing is."""
    trials = connection.execute(queries.trials(specialist)).all()
    return next((_pair(connection, trial) for trial in trials if trial.alias == alias), [])


def _pair(connection: Connection, trial: Row[Any]) -> list[Record]:
    return [_record(connection, version, trial.began) for version in (trial.served, trial.tried)]


def _add(connection: Connection, version: int, tally: Tally) -> None:
    row = outcomes.c.version == version
    if connection.scalar(select(outcomes.c.version).where(row)) is None:
        connection.execute(insert(outcomes).values(version=version, answered=0, failed=0))
    more = {
        "answered": outcomes.c.answered + tally.answered,
        "failed": outcomes.c.failed + tally.failed,
    }
    connection.execute(update(outcomes).where(row).values(more))


def _judge(connection: Connection, specialist: str) -> list[str]:
    """Take canaries back that do worse than they may; what is to be said of that."""
    trials = connection.execute(queries.trials(specialist)).all()
    verdicts = ((trial, _verdict(connection, trial)) for trial in trials)
    found = [(trial, verdict) for trial, verdict in verdicts if verdict is not None]
    for trial, verdict in found:
        _take_back(connection, specialist, trial, verdict)
    return [f"{specialist}:{trial.alias}: {verdict}" for trial, verdict in found]


def _verdict(connection: Connection, trial: Row[Any]) -> str | None:
    """Why a canary is to be taken back, if it is."""
    served, tried = _pair(connection, trial)
    for what, before, after in (
        ("failed", (served.failed, served.ended), (tried.failed, tried.ended)),
        ("were called bad", (served.bad, served.rated), (tried.bad, tried.rated)),
    ):
        if after[1] >= trial.least and _share(*after) > _share(*before) + trial.margin:
            return (
                f"Version {tried.number} was taken back: {after[0]} of {after[1]} answers {what}, "
                f"{before[0]} of {before[1]} of version {served.number}."
            )
    return None


def _share(bad: int, of: int) -> float:
    """Nothing is known against a version that has not been asked."""
    return bad / of if of else 0.0


def _take_back(connection: Connection, specialist: str, trial: Row[Any], verdict: str) -> None:
    row = queries.of_alias(canaries, specialist, trial.alias)
    connection.execute(update(canaries).where(*row).values(share=0.0, verdict=verdict))
    number = connection.scalar(select(versions.c.number).where(versions.c.id == trial.tried))
    said = {"alias": trial.alias, "version": number, "share": 0.0, "verdict": verdict}
    audit.note(connection, audit.TRIED, specialist, **said)
    moves.note_change(connection, specialist)


def _record(connection: Connection, version: int, began: Any) -> Record:
    number = select(versions.c.number).where(versions.c.id == version)
    ended = connection.execute(select(outcomes).where(outcomes.c.version == version)).one_or_none()
    ratings = connection.execute(_ratings(version, began))
    said: dict[str, int] = {row.rating: row.times for row in ratings}
    return Record(
        number=connection.execute(number).scalar_one(),
        answered=0 if ended is None else ended.answered,
        failed=0 if ended is None else ended.failed,
        rated=sum(said.values()),
        bad=said.get(Rating.BAD, 0),
    )


def _ratings(version: int, began: Any) -> Select[Any]:
    count = func.count().label("times")
    since = feedback.c.version == version, feedback.c.created >= began
    return select(feedback.c.rating, count).where(*since).group_by(feedback.c.rating)
