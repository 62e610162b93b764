"""A batch's input: a request in each line, as JSON."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_json

from registry.batch import Problem
from router.api.connection import MAX_JSON_BYTES
from router.errors import InvalidRequest
from router.wire.batch import Line
from router.wire.body import parse

MOST_REQUESTS = 50_000
MOST_PROBLEMS = 100
"""More are not told of."""
LONGEST = MAX_JSON_BYTES + 4096
"""Bytes of a line: those of a request, and what stands around it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The request of a line; `body` is JSON."""

    number: int
    custom_id: str
    body: bytes


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1; without blank ones. One that is too long is cut short."""
    with file.open("rb") as opened:
        number = 0
        while raw := opened.readline(LONGEST + 1):
            number += 1
            if raw.strip():
                yield number, raw
            if len(raw) > LONGEST:
                return


def entry(number: int, raw: bytes, endpoint: str) -> Entry:
    """What a line asks for.

    Raises:
        InvalidRequest: It is no request, or not one for the batch's endpoint.
    """
    if len(raw) > LONGEST:
        message = f"The line has more than {LONGEST:,} bytes; what follows it was not looked at."
        raise InvalidRequest(message, code="line_too_long")
    line = parse(raw, Line)
    if line.url != endpoint:
        message = f"The batch is for {endpoint}, and this for {line.url[:64]!a}."
        raise InvalidRequest(message, param="url", code="mismatched_endpoint")
    if line.body.get("stream"):
        message = "Nobody reads a stream here; leave 'stream' out."
        raise InvalidRequest(message, param="body.stream")
    return Entry(number, line.custom_id, to_json(line.body))


def left(file: Path, endpoint: str, answered: Collection[int]) -> Iterator[Entry]:
    """The requests of lines whose numbers are not among those that are answered."""
    for number, raw in lines(file):
        if number not in answered:
            yield entry(number, raw, endpoint)


def checked(file: Path, endpoint: str) -> tuple[int, list[Problem]]:
    """How many requests there are, and what is wrong with them: all at once, but not too much."""
    problems: list[Problem] = []
    names: set[str] = set()
    for number, raw in lines(file):
        try:
            name = entry(number, raw, endpoint).custom_id
        except InvalidRequest as error:
            problems.append(Problem(error.code, error.message, number, error.param))
        else:
            if name in names:
                problems.append(_twice(name, number))
            names.add(name)
        if len(problems) >= MOST_PROBLEMS or len(names) > MOST_REQUESTS:
            break
    return len(names), problems or _of_all(len(names))


def _twice(name: str, number: int) -> Problem:
    message = f"The custom_id {name[:64]!a} is there twice; each request needs one of its own."
    return Problem("duplicate_custom_id", message, number, "custom_id")


def _of_all(requests: int) -> list[Problem]:
    if not requests:
        return [Problem("empty_file", "There is no request in the file.")]
    if requests > MOST_REQUESTS:
        message = f"The file has more than {MOST_REQUESTS:,} requests; make several batches of it."
        return [Problem("too_many_requests", message)]
    return []
