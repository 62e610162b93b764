"""Graphs as SVG: layers from left to right, each node below the one before it."""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from networkx import DiGraph

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 220, 34, 90, 18, 20
COLOURS = {"version": "#dbeafe", "dataset": "#dcfce7", "base": "#fee2e2", "teacher": "#fef9c3"}
OTHER = "#f3f4f6"
LONGEST = 30


def draw(graph: "DiGraph") -> str:
    """A graph without cycles; nodes have a `label` and a `kind`, edges a `relation`."""
    import networkx as nx

    layers = [sorted(layer) for layer in nx.topological_generations(graph)]
    places = {
        node: (MARGIN + x * (WIDTH + ACROSS), MARGIN + y * (HEIGHT + DOWN))
        for x, layer in enumerate(layers)
        for y, node in enumerate(layer)
    }
    width = 2 * MARGIN + len(layers) * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + max(map(len, layers), default=0) * (HEIGHT + DOWN) - DOWN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
    )
    edges = [
        _edge(places[a], places[b], relation) for a, b, relation in graph.edges(data="relation")
    ]
    boxes = [_box(graph, node, places[node]) for node in places]
    return "\n".join([head, *edges, *boxes, "</svg>\n"])


def _edge(begin: tuple[int, int], end: tuple[int, int], relation: str) -> str:
    x, y = begin[0] + WIDTH, begin[1] + HEIGHT // 2
    to_x, to_y = end[0], end[1] + HEIGHT // 2
    middle = (x + to_x) // 2
    curve = f"M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}"
    return (
        f'<path d="{curve}" fill="none" stroke="#9ca3af"><title>{escape(relation)}</title></path>'
    )


def _box(graph: "DiGraph", node: str, place: tuple[int, int]) -> str:
    fields = graph.nodes[node]
    x, y = place
    label = str(fields.get("label", node))
    short = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    thick = 2 if node == graph.graph.get("focus") else 1
    colour = COLOURS.get(fields.get("kind", ""), OTHER)
    told = ", ".join(fields.get("aliases", ())) or fields.get("license") or fields.get("kind", "")
    return (
        f"<g><title>{escape(label)}: {escape(str(told))}</title>"
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}" '
        f'stroke="#374151" stroke-width="{thick}"/>'
        f'<text x="{x + 8}" y="{y + 15}">{escape(short)}</text>'
        f'<text x="{x + 8}" y="{y + 28}" font-size="9" fill="#4b5563">{escape(str(told))}</text>'
        "</g>"
    )
