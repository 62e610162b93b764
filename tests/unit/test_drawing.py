"""Graphs as SVG."""

from xml.etree import ElementTree

import networkx as nx

from deploy.drawing import draw

SVG = "{http://www.w3.org/2000/svg}"


def test_every_node_and_edge_is_drawn_and_origins_stand_to_the_left():
    graph = nx.DiGraph(focus="b")
    graph.add_node("a", label='data <"&"> ' + "long " * 20, kind="dataset", license="mit")
    graph.add_node("b", label="ada/b@1", kind="version", aliases=["prod"])
    graph.add_node("c", label="ada/c@1", kind="version", aliases=[])
    graph.add_edge("a", "b", relation="dataset")
    graph.add_edge("b", "c", relation="parent")
    root = ElementTree.fromstring(draw(graph))
    assert [title.text for title in root.iter(f"{SVG}title")][:2] == ["dataset", "parent"]
    lefts = [int(box.get("x")) for box in root.iter(f"{SVG}rect")]
    assert lefts == sorted(set(lefts))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[0].startswith('data <"&">')
    assert texts[0].endswith("…")
    assert texts[2:4] == ["ada/b@1", "prod"]


def test_nothing_is_drawn_of_nothing():
    ElementTree.fromstring(draw(nx.DiGraph(focus="x")))
