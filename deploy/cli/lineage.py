"""`myriad lineage`: where a specialist comes from, and what stands on what."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.tree import Tree

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, printable

if TYPE_CHECKING:
    from networkx import DiGraph


def lineage(
    specialist: Annotated[
        str | None,
        typer.Argument(metavar="OWNER/NAME", help="The specialist; :ALIAS or @VERSION may follow."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead: what was trained or scored on this data set.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Instead: what learnt from it.")] = None,
    base: Annotated[str | None, typer.Option(help="Instead: what was made for it.")] = None,
    svg: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw it into this file.")
    ] = None,
    graphml: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the graph into this file.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show where a specialist comes from, and what stands on it."""
    output = Output(as_json)
    given = {"dataset": dataset, "teacher": teacher, "base": base}
    asked = [(relation, subject) for relation, subject in given.items() if subject is not None]
    if (specialist is not None) + len(asked) != 1:
        raise typer.BadParameter("name a specialist, or one data set, teacher or base")
    with connect(url) as client:
        found = (
            client.standing_on(*asked[0]) if asked else client.lineage(*_parts(specialist or ""))
        )
    graph = as_graph(found)
    if svg is not None:
        from deploy.drawing import draw

        svg.write_text(draw(graph))
    if graphml is not None:
        _export(graph, graphml)
    output.show(found, *_trees(graph))


def as_graph(found: dict[str, Any]) -> "DiGraph":
    """What the server answered, as a graph."""
    import networkx as nx

    graph = nx.DiGraph(focus=found["focus"], truncated=found["truncated"])
    for node in found["nodes"]:
        graph.add_node(node["id"], **{key: value for key, value in node.items() if key != "id"})
    for edge in found["edges"]:
        graph.add_edge(edge["from"], edge["to"], relation=edge["relation"])
    return graph


def _parts(text: str) -> tuple[str, str]:
    from registry.reference import parse_reference

    name = parse_reference(text).id
    return name, text.removeprefix(name)


def _export(graph: "DiGraph", file: Path) -> None:
    """GraphML knows no lists."""
    import networkx as nx

    plain = graph.copy()
    for _, fields in plain.nodes(data=True):
        fields |= {
            key: ", ".join(value) for key, value in fields.items() if isinstance(value, list)
        }
    nx.write_graphml(plain, file)


def _trees(graph: "DiGraph") -> list[Tree | str]:
    """What the focus comes from, then what stands on it."""
    focus = graph.graph["focus"]
    if focus not in graph:
        return ["Nothing stands on it."]
    origins = Tree(f"{_shown(graph, focus)} comes from")
    _branch(origins, graph, focus, graph.pred, set())
    standing = Tree(f"on {_shown(graph, focus)} stand")
    _branch(standing, graph, focus, graph.succ, set())
    more: list[Tree | str] = ["There is more than is shown."] if graph.graph["truncated"] else []
    return [tree for tree in (origins, standing) if tree.children] + more


def _branch(tree: Tree, graph: "DiGraph", node: str, near: Any, seen: set[str]) -> None:
    """Add what is next to a node in one direction, each node with its own neighbours once."""
    for other in near[node]:
        relation = near[node][other]["relation"]
        branch = tree.add(f"{relation}: {_shown(graph, other)}")
        if other not in seen:
            seen.add(other)
            _branch(branch, graph, other, near, seen)


def _shown(graph: "DiGraph", node: str) -> str:
    fields = graph.nodes[node]
    notes = [*fields.get("aliases", ()), fields.get("license")]
    told = ", ".join(note for note in notes if note)
    return printable(fields.get("label", node)) + (f" ({printable(told)})" if told else "")
