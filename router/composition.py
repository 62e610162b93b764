"""Takes a plan's steps: those that wait for nothing side by side, each as soon as it can be."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from router.answer import collect
from router.engine import NOTHING, Delta, Items, Message, Usage
from router.errors import INTERNAL, RouterError
from router.routing.decision import Decision
from router.routing.plan import Plan, Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended: with a text, with an error, or not begun because of another's.

    Attributes:
        step: which it was.
        decision: who answered; None where it was not begun, or nobody could be found.
        text: what came of it.
        finish_reason: why the text ends.
        usage: what it took.
        error: a sentence for people; None if there is a text.
    """

    step: Step
    decision: Decision | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: Usage = NOTHING
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Underway:
    """A step that has begun: who takes it, and what comes of it."""

    decision: Decision
    items: Items


Begin = Callable[[Step, str], Awaitable[Underway]]
"""Begins a step with the text that it asks."""


class Steps:
    """The steps of one request, under way."""

    def __init__(self, plan: Plan, request: str, begin: Begin) -> None:
        """Take a plan; `begin` begins a step with its text."""
        self._plan = plan
        self._request = request
        self._begin = begin
        self._tasks: dict[str, asyncio.Task[Result]] = {}

    async def before_last(self) -> list[Result]:
        """Take all steps but the last; how each ended, in the plan's order."""
        try:
            async with asyncio.TaskGroup() as group:
                for step in self._plan.steps[:-1]:
                    self._tasks[step.name] = group.create_task(self._take(step))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return [task.result() for task in self._tasks.values()]

    async def _take(self, step: Step) -> Result:
        before = [await self._tasks[name] for name in step.after]
        lost = [result.step.name for result in before if result.text is None]
        if lost:
            return Result(step, error=f"It works on what did not come of {', '.join(lost)}.")
        results = results_of(before)
        decision: Decision | None = None
        try:
            begun = await self._begin(step, step.text(self._request, results))
            decision = begun.decision
            [choice], usage = await collect(begun.items, 1)
        except RouterError as error:
            return Result(step, decision, error=error.message)
        except Exception:
            logger.exception("step %s failed", step.name)
            return Result(step, decision, error=INTERNAL)
        return Result(step, decision, choice.text, choice.finish_reason, usage)


def partial(results: Sequence[Result]) -> str:
    """What came of steps whose followers failed: the texts that no other text was made of."""
    done = {result.step.name: result.text for result in results if result.text is not None}
    used = {name for result in results if result.text is not None for name in result.step.after}
    return "\n\n".join(text for name, text in done.items() if name not in used)


def usage_of(results: Sequence[Result]) -> Usage:
    """What steps took together."""
    return sum((result.usage for result in results), NOTHING)


def results_of(results: Sequence[Result]) -> Mapping[str, str]:
    """The texts, by the names of their steps."""
    return {result.step.name: result.text for result in results if result.text is not None}


async def said(text: str) -> Items:
    """A text that is there already, as an engine would give it."""
    yield Delta(0, text, 0, finish_reason="stop")
    yield NOTHING


async def with_usage(items: Items, more: Usage) -> Items:
    """The same items, with what steps before them took."""
    try:
        async for item in items:
            yield _with(item, more)
    finally:
        await items.aclose()


def _with(item: Delta | Usage, more: Usage) -> Delta | Usage:
    if isinstance(item, Usage):
        return item + more
    return item if item.prompt is None else replace(item, prompt=item.prompt + more)


def user(text: str) -> tuple[Message, ...]:
    """A step's text as a chat."""
    return (Message("user", text),)
