"""What was used, in the words of OpenAI's API: a page of buckets, each of a day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from registry.clock import now
from registry.usage import KEPT, By, Days, Line
from router.errors import InvalidRequest
from router.wire.key import MAX_SECONDS

DAY = timedelta(days=1)
Moment = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
GROUPS = {"model": By.MODEL, "api_key_id": By.KEY, "project_id": By.OWNER}
"""What amounts may be told apart by. OpenAI's projects are what owners are here."""
ONLY = {f"{name}s": by for name, by in GROUPS.items()}
"""Under which names a query says of what alone it wants to know."""
UNKNOWN = ("user_ids", "batch")
"""Parameters of OpenAI's that nothing here is told apart by."""


class Span(BaseModel):
    """Which days are wanted. They begin at midnight in UTC; parts of a day stand for all of it."""

    start_time: Moment
    end_time: Moment | None = None
    bucket_width: Literal["1d"] = "1d"
    limit: int = Field(7, ge=1, le=31)
    page: date | None = None

    @property
    def wanted(self) -> Days:
        """All of them, as far as anything is known of them."""
        today = now().date()
        last = today if self.end_time is None else min(_day(self.end_time - 1), today)
        first = max(self.page or _day(self.start_time), today - KEPT)
        return Days(min(first, last + DAY), last + DAY)

    @property
    def days(self) -> Days:
        """Those of this page."""
        wanted = self.wanted
        return Days(wanted.first, min(wanted.end, wanted.first + self.limit * DAY))


Wanted = Annotated[Span, Query()]


def told_apart_by(request: Request) -> list[By]:
    """What a query wants the amounts of a day told apart by.

    Raises:
        InvalidRequest: that is nothing they can be told apart by.
    """
    asked = _several(request, "group_by")
    for name in asked:
        if name not in GROUPS:
            known = ", ".join(f"'{each}'" for each in GROUPS)
            raise InvalidRequest(
                f"'group_by' may hold {known}; '{name}' is not kept.", param="group_by"
            )
    return [by for name, by in GROUPS.items() if name in asked]


def only(request: Request) -> Mapping[By, Sequence[str]]:
    """Which models, keys and owners a query asks for; none where all are wanted.

    Raises:
        InvalidRequest: it asks for some of what is not told apart.
    """
    for name in UNKNOWN:
        if _several(request, name):
            raise InvalidRequest(f"'{name}' is not kept; leave it out.", param=name)
    asked = {by: _several(request, name) for name, by in ONLY.items()}
    return {by: names for by, names in asked.items() if names}


def page(span: Span, lines: Sequence[Line]) -> dict[str, Any]:
    """The days of a page, those on which nothing was used too."""
    used = {day: list(each) for day, each in groupby(lines, lambda line: line.day)}
    days, wanted = span.days, span.wanted
    each = [days.first + number * DAY for number in range((days.end - days.first).days)]
    more = days.end < wanted.end
    return {
        "object": "page",
        "data": [_bucket(day, used.get(day, ())) for day in each],
        "has_more": more,
        "next_page": days.end.isoformat() if more else None,
    }


def _several(request: Request, name: str) -> list[str]:
    """What a query lists under a name; clients put brackets after it."""
    asked = request.query_params
    return [*asked.getlist(name), *asked.getlist(f"{name}[]")]


def _bucket(day: date, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "object": "bucket",
        "start_time": _seconds(day),
        "end_time": _seconds(day + DAY),
        "results": [_result(line) for line in lines],
    }


def _result(line: Line) -> dict[str, Any]:
    told = {name: getattr(line, column) for name, column in GROUPS.items()}
    return {
        "object": "organization.usage.completions.result",
        "num_model_requests": line.amount.requests,
        "input_tokens": line.amount.prompt_tokens,
        "input_cached_tokens": line.amount.cached_tokens,
        "output_tokens": line.amount.completion_tokens,
        **told,
        **({"rest": True} if line.rest else {}),
    }


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
