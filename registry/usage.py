"""What was used, by day: how many requests each key sent to whom, and how many tokens they were.

What an owner's keys used is the owner's to see. So is what others used of the owner's specialists,
but not who they were. Days are kept for 400 days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Insert, Subquery, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from registry import lookup
from registry.clock import now
from registry.database import Database
from registry.queries import of_owner
from registry.reference import Reference
from registry.tables import usage
from registry.view import View

KEPT = timedelta(days=400)
MOST = 1000
"""Amounts that a day is told apart into."""
_COUNTS = (
    usage.c.requests,
    usage.c.prompt_tokens,
    usage.c.cached_tokens,
    usage.c.completion_tokens,
)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much was used.

    Attributes:
        requests: answers that were begun.
        prompt_tokens: of what was asked.
        cached_tokens: those of them that did not have to be computed.
        completion_tokens: of the answers.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        """Both together."""
        return Amount(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Account:
    """What an amount is put down to.

    Attributes:
        day: in UTC.
        model: who answered: a specialist, or the base.
        key: with which it was asked for; None where none is needed.
        owner: the key's; None for nobody in particular.
    """

    day: date
    model: str
    key: str | None = None
    owner: str | None = None


class By(StrEnum):
    """What the amounts of a day are told apart by."""

    MODEL = "model"
    KEY = "key"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Line:
    """An amount of a day; None are those that it is not told apart by, or nobody in particular.

    Of more than `MOST` the smallest are one line, the `rest`.
    """

    day: date
    amount: Amount
    model: str | None = None
    key: str | None = None
    owner: str | None = None
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Days:
    """From one day to before another."""

    first: date
    end: date


class Ledger:
    """What was used, as a view shows it. Thread-safe; methods may raise StorageError."""

    def __init__(self, database: Database, view: View) -> None:
        self._database = database
        self._view = view

    def note(self, used: Mapping[Account, Amount]) -> None:
        """Put down what was used beside what stands there already, and forget old days."""
        rows = [_row(account, amount) for account, amount in used.items()]
        with self._database.write() as connection:
            connection.execute(delete(usage).where(usage.c.day < now().date() - KEPT))
            connection.execute(_added(self._database.dialect), rows)

    def used(
        self,
        days: Days,
        by: Sequence[By] = (),
        only: Mapping[By, Sequence[str]] | None = None,
    ) -> Sequence[Line]:
        """What the owner's keys used, or everybody's where the view is nobody's in particular.

        Args:
            days: of which days.
            by: what the amounts of a day are told apart by.
            only: of which models, keys and owners; those that are not there are all.
        """
        wanted = [usage.c[column].in_(names) for column, names in (only or {}).items()]
        return self._lines(days, by, of_owner(usage.c.owner, self._view.owner), *wanted)

    def answered(self, specialist: Reference, days: Days) -> Sequence[Line]:
        """What a specialist of the owner's answered, whoever asked.

        Raises:
            NotOwned: it is somebody else's.
            UnknownSpecialist: there is none, nor was anything asked of it.
        """
        self._view.require_own(specialist)
        found = self._lines(days, [By.MODEL], usage.c.model == specialist.id)
        if not found:
            with self._database.read() as connection:
                lookup.require(connection, specialist, self._view)
        return found

    def _lines(self, days: Days, by: Sequence[By], *wanted: ColumnElement[bool]) -> Sequence[Line]:
        within = usage.c.day >= days.first, usage.c.day < days.end
        each = _with_rest(_placed(by, *within, *wanted), by)
        told = [each.c.day, each.c.rest, *(each.c[column] for column in by)]
        sums = {count.name: func.sum(each.c[count.name]).label(count.name) for count in _COUNTS}
        tokens = sums["prompt_tokens"] + sums["completion_tokens"]
        statement = select(*told, *sums.values()).group_by(*told)
        order = each.c.day, each.c.rest, tokens.desc(), *told[2:]
        with self._database.read() as connection:
            found = connection.execute(statement.order_by(*order)).mappings().all()
        return [
            Line(
                day=row["day"],
                rest=row["rest"],
                amount=Amount(**{name: int(row[name]) for name in sums}),
                **{column: row[column] or None for column in by},
            )
            for row in found
        ]


def _placed(by: Sequence[By], *wanted: ColumnElement[bool]) -> Subquery:
    """Sums of each day, and their places in it: whoever used most is first."""
    names = [usage.c[column] for column in by]
    sums = {count.name: func.sum(count).label(count.name) for count in _COUNTS}
    tokens = sums["prompt_tokens"] + sums["completion_tokens"]
    place = func.row_number().over(partition_by=usage.c.day, order_by=[tokens.desc(), *names])
    statement = select(usage.c.day, *names, *sums.values(), place.label("place"))
    return statement.where(*wanted).group_by(usage.c.day, *names).subquery()


def _with_rest(placed: Subquery, by: Sequence[By]) -> Subquery:
    """The same; those beyond the first `MOST` of a day have no names."""
    is_told = placed.c.place <= MOST
    names = [case((is_told, placed.c[column])).label(column) for column in by]
    counts = [placed.c[count.name] for count in _COUNTS]
    return select(placed.c.day, (placed.c.place > MOST).label("rest"), *names, *counts).subquery()


def _row(account: Account, amount: Amount) -> dict[str, object]:
    """As the table holds it: a part of what names a row is never null."""
    named = {"day": account.day, "model": account.model, "key": account.key or ""}
    counts = zip((count.name for count in _COUNTS), astuple(amount), strict=True)
    return {**named, "owner": account.owner, **dict(counts)}


def _added(dialect: str) -> Insert:
    """Rows are put beside others, or added to those of the same name."""
    inserting = (postgresql if dialect == "postgresql" else sqlite).insert(usage)
    sums = {count.name: count + inserting.excluded[count.name] for count in _COUNTS}
    added: Insert = inserting.on_conflict_do_update(index_elements=usage.primary_key, set_=sums)
    return added
