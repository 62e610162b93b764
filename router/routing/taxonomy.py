"""What there is, as a tree: domains, their niches, and the specialists of each.

Broader and narrower tags are told by what has them: a tag lies below another if nearly all that
have it have the other too (subsumption: Sanderson and Croft 1999). Whoever has no tags joins the
niche that its examples lie nearest to; those that lie near to none are grouped among themselves.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors
from router.routing.filters import TAG
from router.routing.index import COARSE, centroid
from router.routing.snapshot import Part, Snapshot

TAGS = 128
"""The commonest tags, by which the tree grows."""
BELOW = 0.8
"""Share of a tag's specialists that have another tag too, from which on it lies below that."""
NEAR = 0.3
"""Cosine to the centre of a niche, from which on whoever has no tags joins it."""
SURE = 3
"""Decimals of a cosine that count: what differs by less is equally near."""
CENTRE_OF = 64
"""Specialists whose mean is a niche's centre."""
GROUPED = 2000
"""Specialists near to no niche, up to which they are grouped among themselves."""
FRIENDS = 5
LOOKED_AT = 20_000
"""Specialists that are looked at; of more, so many spread evenly, and counts are estimates."""
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Niche:
    """Specialists that do much the same; `name` is empty for those right below the domain.

    `specialists` are the first of them, `count` is how many there are.
    """

    name: str
    count: int
    specialists: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """Niches that belong together, those of most specialists first."""

    name: str
    count: int
    niches: tuple[Niche, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A specialist: a part of the snapshot, and its number there."""

    part: Part
    number: int

    @property
    def specialist(self) -> str:
        return self.part.route(self.number).specialist


_Homes = dict[tuple[str, str], list[_Place]]
"""Who is at home where, by domain and niche."""


def taxonomy(snapshot: Snapshot, shown: int) -> list[Domain]:
    """The tree of a snapshot's routes, the largest domains first.

    Args:
        snapshot: as whoever asks sees it.
        shown: how many specialists a niche lists.
    """
    step = -(-len(snapshot) // LOOKED_AT) or 1
    seen = [(part, np.flatnonzero(among)[::step]) for part, among in snapshot.searched]
    names = _commonest(snapshot)
    has = np.concatenate([_having(part, numbers, names) for part, numbers in seen])
    tags = _Tags(names, has)
    places = [_Place(part, int(number)) for part, numbers in seen for number in numbers]
    homes: _Homes = defaultdict(list)
    strangers: list[_Place] = []
    for place, row in zip(places, has, strict=True):
        home = tags.home(row)
        (strangers if home is None else homes[home]).append(place)
    _join(strangers, homes)
    return _domains(homes, shown, step)


def _commonest(snapshot: Snapshot) -> list[str]:
    """The tags that most have, or had: what is hidden counts, but only for where to look."""
    counts: dict[str, int] = defaultdict(int)
    for part, _ in snapshot.searched:
        for tag, count in part.tags():
            counts[tag] += count
    return sorted(counts, key=lambda tag: (-counts[tag], tag))[:TAGS]


def _having(part: Part, numbers: NDArray[np.intp], tags: Sequence[str]) -> NDArray[np.bool_]:
    """Which of a part's numbers have which tags, [numbers, tags]."""
    has = np.zeros((len(numbers), len(tags)), dtype=np.bool_)
    for column, tag in enumerate(tags):
        has[:, column] = part.having(f"{TAG}{tag}")[numbers]
    return has


class _Tags:
    """Tags, and how they lie above each other."""

    def __init__(self, names: Sequence[str], has: NDArray[np.bool_]) -> None:
        """Take the tags, and which specialists have them, [specialists, tags]."""
        self.names = names
        counted = has.astype(np.float32)
        together = (counted.T @ counted).astype(np.int64)
        self.counts = np.diagonal(together)
        self._forest = nx.DiGraph()
        self._forest.add_nodes_from(range(len(names)))
        for below in np.flatnonzero(self.counts):
            above = self._above(int(below), together)
            if above is not None:
                self._forest.add_edge(above, int(below))

        self._domains = [self._root(tag) for tag in range(len(names))]

    def home(self, has: NDArray[np.bool_]) -> tuple[str, str] | None:
        """Domain and niche of whoever has these tags, [tags]; None without any.

        The domain is above the broadest of them; the niche is the narrowest that others have too.
        """
        mine = sorted(np.flatnonzero(has).tolist(), key=lambda tag: (-self.counts[tag], tag))
        if not mine:
            return None
        domain = self._domains[mine[0]]
        narrow = [tag for tag in mine if tag != domain and self.counts[tag] > 1]
        return self.names[domain], self.names[narrow[-1]] if narrow else ""

    def _root(self, tag: int) -> int:
        above = [each for each in nx.ancestors(self._forest, tag) if not self._forest.pred[each]]
        return above[0] if above else tag

    def _above(self, below: int, together: NDArray[np.int64]) -> int | None:
        """The narrowest tag that is broader than one and nearly always there with it."""
        share = together[below] / self.counts[below]
        broader = np.flatnonzero((share >= BELOW) & (self.counts > self.counts[below]))
        return min(broader.tolist(), key=lambda tag: (self.counts[tag], tag), default=None)


def _join(strangers: Sequence[_Place], homes: _Homes) -> None:
    """Let those without tags join the niche that they lie nearest to, or one of their own."""
    if not strangers:
        return
    # In an order, and to a precision, that do not depend on who came first.
    named = sorted(homes)
    # One more that is near to nobody, so that there always is one.
    centres = np.stack([*(_centre(homes[name]) for name in named), np.zeros(COARSE, np.float32)])
    left = []
    for place, row in zip(strangers, _centres(strangers) @ centres.T, strict=True):
        if row.max() >= NEAR:
            homes[named[int(row.round(SURE).argmax())]].append(place)
        else:
            left.append(place)
    for niche, places in _grouped(left):
        homes[OTHER, niche] += places


def _grouped(places: Sequence[_Place]) -> Iterator[tuple[str, list[_Place]]]:
    """Those that lie near each other, by the name of the one in their middle.

    Communities of the graph of nearest neighbours (Blondel et al. 2008).
    """
    if not FRIENDS < len(places) <= GROUPED:
        if places:
            yield "", list(places)
        return
    # Here too, nothing depends on who came first.
    places = sorted(places, key=lambda place: place.specialist)
    centres = _centres(places)
    near = (centres @ centres.T).round(SURE)
    np.fill_diagonal(near, -1)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(places)))
    for at, row in enumerate(near):
        for other in np.argsort(-row, kind="stable")[:FRIENDS]:
            if row[other] >= NEAR:
                graph.add_edge(at, int(other), weight=float(row[other]))
    for community in nx.community.louvain_communities(graph, seed=0):
        members = sorted(community)
        central = (centres[members] @ centroid(centres[members])).round(SURE)
        middle = members[int(central.argmax())]
        yield f"like {places[middle].specialist}", [places[at] for at in members]


def _domains(homes: _Homes, shown: int, step: int) -> list[Domain]:
    niches: dict[str, list[Niche]] = defaultdict(list)
    for (domain, niche), places in homes.items():
        some = sorted(place.specialist for place in places[:shown])
        niches[domain].append(Niche(niche, len(places) * step, tuple(some)))
    found = [
        Domain(name, sum(niche.count for niche in each), tuple(sorted(each, key=_largest_first)))
        for name, each in niches.items()
    ]
    return sorted(found, key=_largest_first)


def _largest_first(each: Domain | Niche) -> tuple[int, str]:
    return -each.count, each.name


def _centre(places: Sequence[_Place]) -> Vectors:
    return centroid(_centres(places[:CENTRE_OF]))


def _centres(places: Sequence[_Place]) -> Vectors:
    """The middle of each one's examples, unit vectors [places, coordinates]."""
    found = np.empty((len(places), COARSE), dtype=np.float32)
    for part in dict.fromkeys(place.part for place in places):
        mine = [at for at, place in enumerate(places) if place.part is part]
        found[mine] = part.centres(np.array([places[at].number for at in mine]))
    return found
