"""Where versions come from, in the words of the API."""

from typing import Any

import networkx as nx


def lineage(graph: nx.DiGraph) -> dict[str, Any]:
    """A graph as lists of nodes and edges; an edge leads from an origin to what was made of it."""
    return {
        "object": "lineage",
        "focus": graph.graph["focus"],
        "nodes": [{"id": node, **fields} for node, fields in graph.nodes(data=True)],
        "edges": [
            {"from": origin, "to": made, "relation": relation}
            for origin, made, relation in graph.edges(data="relation")
        ],
        "truncated": graph.graph["truncated"],
    }
