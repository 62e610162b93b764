"""A request that several specialists answer together: steps, and which works on whose results."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

MOST_STEPS = 8
REQUEST = "request"
"""What a step's prompt calls the user's last message."""
_PLACE = re.compile(r"\{([A-Za-z0-9_-]{1,64})\}")
_GAP = r"\s{0,9}+"
_THEN = re.compile(
    rf"{_GAP}(?:[,;.]?{_GAP}\b(?:and\s{_GAP})?(?:then|after\s{_GAP}that|afterwards|finally)\b[,:]?|;)\s++",
    re.I,
)
"""Between two things that are asked for one after the other.

Nothing that was read is read again, however much space there is.
"""
_MATERIAL = re.compile(r":\s*\n|\n\s*\n|:\s+(?=[\"'“])")
"""Between what is asked for and what it is asked of."""
_SAID_ON = re.compile(r":[^\S\n]+(?=\S+(?:\s{1,9}\S+){7})")
"""The same in one line, after several things that are asked for: so many words say no more how."""
HEAD = 4000
"""Characters in which a request says what it asks for."""


class InvalidPlan(ValueError):
    """The steps cannot be taken; the message says why, and what to change."""


@dataclass(frozen=True, slots=True)
class Step:
    """One generation.

    Attributes:
        name: by which other steps speak of it.
        model: who answers, as in a request.
        after: the steps whose results it works on.
        prompt: what is asked, with `{request}` or `{name}` for the request and for results; None
            asks what the request asks, or gives the results alone.
    """

    name: str
    model: str
    after: tuple[str, ...] = ()
    prompt: str | None = None

    @property
    def is_the_request(self) -> bool:
        """Whether it asks just what the request asks."""
        return self.prompt is None and not self.after

    def text(self, request: str, results: Mapping[str, str]) -> str:
        """What is asked, once the results are there."""
        known = {REQUEST: request, **results}
        if self.prompt is not None:
            return _PLACE.sub(lambda found: known.get(found[1], found[0]), self.prompt)
        return "\n\n".join(results[name] for name in self.after) if self.after else request


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which they can be taken, else as given; the last gives the answer."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "Plan":
        """The plan of some steps, in any order.

        Raises:
            InvalidPlan: they do not lead to one answer.
        """
        graph: nx.DiGraph[str] = nx.DiGraph()
        by_name = {step.name: step for step in steps}
        if len(by_name) < len(steps):
            raise InvalidPlan("have two of the same name; give each its own")
        if REQUEST in by_name:
            raise InvalidPlan(f"must not be called '{REQUEST}', which stands for the request")
        graph.add_nodes_from(by_name)
        for step in steps:
            for name in step.after:
                if name not in by_name:
                    raise InvalidPlan(f"have '{step.name}' after '{name}', which is none of them")
                graph.add_edge(name, step.name)
        if not nx.is_directed_acyclic_graph(graph):
            raise InvalidPlan("wait for each other in a circle; let one of them come first")
        last = [name for name in by_name if not graph.succ[name]]
        if len(last) != 1:
            raise InvalidPlan(f"end in {len(last)} places; let one come after {', '.join(last)}")
        places = {name: place for place, name in enumerate(by_name)}
        order = nx.lexicographical_topological_sort(graph, key=places.__getitem__)
        return cls(tuple(by_name[name] for name in order))

    @property
    def last(self) -> Step:
        """The one that gives the answer."""
        return self.steps[-1]


def split(request: str) -> tuple[list[str], str]:
    """The things that a request asks for, one after the other, and what it asks them of."""
    found = _border(request)
    if found is None and len(request) > HEAD:
        return [request], ""
    said, material = (request[: found.start()], request[found.end() :]) if found else (request, "")
    asked = [each.strip(" ,.;") for each in _THEN.split(said)]
    return [each for each in asked if each], material.strip()


def _border(request: str) -> re.Match[str] | None:
    """Where what is asked for ends, and what it is asked of begins."""
    then = _THEN.search(request, 0, HEAD)
    said_on = _SAID_ON.search(request, then.end(), HEAD) if then else None
    found = filter(None, (_MATERIAL.search(request, 0, HEAD), said_on))
    return min(found, key=lambda border: border.start(), default=None)


def planned(request: str, choose: Callable[[str], str | None]) -> Plan | None:
    """The plan by which a request is answered; None where one specialist will do.

    Args:
        request: what the user says.
        choose: the specialist that fits a text; None where none does.
    """
    asked, material = split(request)
    if not 1 < len(asked) <= MOST_STEPS:
        return None
    chosen: list[tuple[str, str]] = []
    for text in asked:
        # The first is asked of the material, which may say more of who is meant than the asking.
        first = choose(_about(text, material)) if material and not chosen else None
        specialist = first or choose(text)
        if specialist is None:
            return None
        if chosen and chosen[-1][0] == specialist:
            chosen[-1] = specialist, f"{chosen[-1][1]}, then {text}"
        else:
            chosen.append((specialist, text))
    if len(chosen) < 2:
        return None
    steps = [_step(number, *each, material) for number, each in enumerate(chosen)]
    return Plan.of(steps)


def _step(number: int, specialist: str, text: str, material: str) -> Step:
    if number:
        before = f"step-{number}"
        return Step(f"step-{number + 1}", specialist, (before,), _about(text, f"{{{before}}}"))
    return Step("step-1", specialist, (), _about(text, material) if material else text)


def _about(text: str, material: str) -> str:
    return f"{text}:\n{material}"
