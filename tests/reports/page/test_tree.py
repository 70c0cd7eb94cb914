from __future__ import annotations

from partkit.data.profile import Node, Profile
from partkit.reports.page.tree import Box, module_tree, num_boxes, runs_of_alike


def node(module: str, op: str = "add", time_s: float = 1.0, output_bytes: int = 4) -> Node:
    return Node(name=f"{module}:{op}", module=module, op=op, time_s=time_s, output_bytes=output_bytes)


def tree(*nodes: Node) -> Box:
    return module_tree(Profile(nodes=nodes, edges=()))


def outline(content) -> list[object]:
    return [each.op if isinstance(each, Node) else (each.name, outline(each.content)) for each in content]


def test_modules_are_nested_in_the_order_of_their_first_node() -> None:
    whole = tree(node("a.b", "one"), node("", "two"), node("a", "three"), node("c", "four"), node("a.b", "five"))
    assert outline(whole.content) == [("a", [("b", ["one", "five"]), "three"]), "two", ("c", ["four"])]
    assert num_boxes(whole) == 4
    assert (whole.time_s, whole.boxes[0].time_s) == (5.0, 3.0)


def test_a_module_that_holds_one_module_alone_is_joined_with_it_but_not_with_a_number() -> None:
    assert outline(tree(node("a.b.c", "x")).content) == [("a.b.c", ["x"])]
    assert outline(tree(node("a.layer.0", "x")).content) == [("a.layer", [("0", ["x"])])]


def test_inputs_and_the_result_are_no_operations_of_a_module() -> None:
    assert tree(node("", "input"), node("", "output")).nodes == ()


def test_layers_that_are_alike_come_as_one_run() -> None:
    layers = [node(f"layer.{index}.{part}", op) for index in range(4) for part, op in (("a", "mul"), ("b", "add"))]
    layers[6] = node("layer.3.a", "div")
    (layer,) = tree(*layers).boxes
    runs = [[box.name for box in run] for run in runs_of_alike(layer.content)]
    assert runs == [["0", "1", "2"], ["3"]]


def test_layers_of_other_sizes_or_that_do_not_follow_are_not_alike() -> None:
    sizes = tree(
        node("0", output_bytes=4), node("1", output_bytes=8), node("2", output_bytes=8), node("4", output_bytes=8)
    )
    assert [[box.name for box in run] for run in runs_of_alike(sizes.content)] == [["0"], ["1", "2"], ["4"]]


def test_seconds_are_told_by_stage() -> None:
    whole = tree(node("a", "x", 2.0), node("b", "y", 3.0), node("b", "free", 5.0))
    assert whole.stages({"b:y": 0, "a:x": 1}) == {0: 3.0, 1: 2.0}
