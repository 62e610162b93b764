"""Where versions come from and what stands on them, as a graph (networkx).

Nodes are strings: `version sha256:…`, `dataset NAME`, `teacher NAME` and so on. An edge leads from
what something was made from to what was made of it, and says how (`relation`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import networkx as nx
from sqlalchemy import Connection, Select, select

from registry import lookup, queries
from registry.database import Database
from registry.errors import InvalidInput
from registry.licences import Licensed
from registry.origins import DATASET, EVALUATION, PARENT, RELATIONS
from registry.reference import Reference
from registry.tables import aliases, origins, specialists, versions
from registry.view import View

MOST = 1000
"""Versions in one graph; its `truncated` says whether there are more."""
_AT_ONCE = 500
Pair = tuple[str, str]


class Lineage:
    """The origins of a view's versions. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, view: View) -> None:
        self._database = database
        self._view = view

    def of(self, reference: Reference) -> nx.DiGraph:
        """A live specialist's version, all that it comes from, and all that stands on it.

        Raises:
            UnknownSpecialist: there is none; it carries up to three nearest ids.
        """
        with self._database.read() as connection:
            row = lookup.find(connection, reference, self._view)
            graph = nx.DiGraph(focus=version_node(row.digest), truncated=False)
            _grow(connection, graph, [row.digest], self._parents)
            _grow(connection, graph, [row.digest], self._children)
            _describe(connection, graph)
        return graph

    def licensed(self, digest: str) -> list[Licensed]:
        """All that a version comes from and whose licence is known."""
        with self._database.read() as connection:
            graph = nx.DiGraph(focus=version_node(digest), truncated=False)
            _grow(connection, graph, [digest], self._parents)
            _describe(connection, graph)
        nodes = (graph.nodes[node] for node in nx.ancestors(graph, version_node(digest)))
        return [Licensed(has["label"], has["license"]) for has in nodes if has.get("license")]

    def standing_on(self, relation: str, subject: str) -> nx.DiGraph:
        """All versions made from this base, data set, teacher, job or version, directly or not.

        A data set is also what versions were scored on; it is named by its name or its digest.

        Raises:
            InvalidInput: that is no relation.
        """
        if relation not in RELATIONS:
            message = f"must be one of {', '.join(RELATIONS)}, not '{relation[:32]}'."
            raise InvalidInput(f"'relation' {message}", "relation", "invalid_relation")
        node = version_node(subject) if relation == PARENT else f"{relation} {subject}"
        graph = nx.DiGraph(focus=node, truncated=False)
        kinds = (DATASET, EVALUATION) if relation == DATASET else (relation,)
        with self._database.read() as connection:
            found = self._made_of(connection, kinds, subject)
            _grow(connection, graph, found, self._children)
            _describe(connection, graph)
        if node not in graph:
            graph.graph["focus"] = _labelled(graph, relation, subject) or node
        return graph

    def _made_of(self, connection: Connection, kinds: Sequence[str], subject: str) -> list[str]:
        """Digests of versions with such an origin, by what names it for good or by its name."""
        found: dict[str, None] = {}
        for column in (origins.c.subject, origins.c.label):
            statement = (
                select(versions.c.digest)
                .join(origins, origins.c.version == versions.c.id)
                .join(specialists, specialists.c.id == versions.c.specialist)
                .where(origins.c.relation.in_(kinds), column == subject)
                .where(queries.listed(self._view))
                .limit(MOST + 1)
            )
            found |= dict.fromkeys(connection.scalars(statement))
        return list(found)

    def _parents(self, connection: Connection, children: Iterable[str]) -> Iterator[Pair]:
        """Pairs of (parent, child) for these children."""
        parent = versions.alias()
        statement = (
            _pairs()
            .join(parent, parent.c.digest == origins.c.subject)
            .join(specialists, specialists.c.id == parent.c.specialist)
            .where(queries.reachable(self._view))
        )
        for some in _batches(children):
            rows = connection.execute(statement.where(versions.c.digest.in_(some)))
            yield from ((row.subject, row.digest) for row in rows)

    def _children(self, connection: Connection, parents: Iterable[str]) -> Iterator[Pair]:
        """Pairs of (parent, child) for these parents."""
        statement = (
            _pairs()
            .join(specialists, specialists.c.id == versions.c.specialist)
            .where(queries.listed(self._view))
        )
        for some in _batches(parents):
            rows = connection.execute(statement.where(origins.c.subject.in_(some)))
            yield from ((row.subject, row.digest) for row in rows)


def version_node(digest: str) -> str:
    """The node of a version."""
    return f"version {digest}"


def _grow(
    connection: Connection,
    graph: nx.DiGraph,
    begin: Sequence[str],
    next_to: Callable[[Connection, Iterable[str]], Iterator[Pair]],
) -> None:
    """Add versions, the given ones first, then generation by generation parents, or children."""
    graph.graph["truncated"] |= len(begin) > MOST
    fresh = list(begin[:MOST])
    while fresh:
        graph.add_nodes_from(map(version_node, fresh), kind="version")
        edges = list(next_to(connection, fresh))
        ends = dict.fromkeys(chain.from_iterable(edges))
        reached = [digest for digest in ends if version_node(digest) not in graph]
        room = MOST - graph.number_of_nodes()
        graph.graph["truncated"] |= len(reached) > room
        fresh = reached[:room]
        graph.add_nodes_from(map(version_node, fresh), kind="version")
        nodes = ((version_node(parent), version_node(child)) for parent, child in edges)
        shown = [(parent, child) for parent, child in nodes if {parent, child} <= graph.nodes]
        graph.add_edges_from(shown, relation=PARENT)


def _batches(digests: Iterable[str]) -> Iterator[list[str]]:
    """As many at once as one statement may name."""
    left = iter(digests)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _pairs() -> Select[Any]:
    return (
        select(origins.c.subject, versions.c.digest)
        .join(versions, versions.c.id == origins.c.version)
        .where(origins.c.relation == PARENT)
    )


def _describe(connection: Connection, graph: nx.DiGraph) -> None:
    """Say what each version is called, what points to it, and what else it was made from."""
    digests = [node.partition(" ")[2] for node, kind in graph.nodes(data="kind") if kind]
    for some in _batches(digests):
        named = select(versions.c.digest, versions.c.specialist, versions.c.number)
        for row in connection.execute(named.where(versions.c.digest.in_(some))):
            node = graph.nodes[version_node(row.digest)]
            node |= {"label": f"{row.specialist}@{row.number}", "aliases": []}
        for row in connection.execute(_pointing(some)):
            graph.nodes[version_node(row.digest)]["aliases"].append(row.alias)
        for row in connection.execute(_made_from(some)):
            _add_origin(graph, row)


def _labelled(graph: nx.DiGraph, kind: str, label: str) -> str | None:
    """The node of this kind that people know by this name."""
    nodes = graph.nodes(data=True)
    return next((node for node, has in nodes if (has["kind"], has["label"]) == (kind, label)), None)


def _pointing(digests: Sequence[str]) -> Select[Any]:
    return (
        select(versions.c.digest, aliases.c.alias)
        .join(versions, versions.c.id == aliases.c.version)
        .join(specialists, specialists.c.id == aliases.c.specialist)
        .where(versions.c.digest.in_(digests), specialists.c.retired.is_(None))
        .order_by(aliases.c.alias)
    )


def _made_from(digests: Sequence[str]) -> Select[Any]:
    return (
        select(versions.c.digest, origins)
        .join(versions, versions.c.id == origins.c.version)
        .where(versions.c.digest.in_(digests))
        .order_by(origins.c.relation, origins.c.label)
    )


def _add_origin(graph: nx.DiGraph, row: Any) -> None:
    """Add what a version was made from; parents that belong to the graph are in it already."""
    node = version_node(row.subject)
    if row.relation != PARENT:
        node = _add_thing(graph, row)
    if row.license is not None and node in graph:
        graph.nodes[node]["license"] = row.license


def _add_thing(graph: nx.DiGraph, row: Any) -> str:
    """Add an origin that is no version; what one was scored on is a data set too."""
    kind = DATASET if row.relation == EVALUATION else row.relation
    node = f"{kind} {row.subject}"
    known = graph.nodes[node].get("label") if node in graph else None
    label = known if known not in (None, row.subject) else row.label
    graph.add_node(node, kind=kind, label=label)
    graph.add_edge(node, version_node(row.digest), relation=row.relation)
    return node
