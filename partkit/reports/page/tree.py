"""A profile's nodes as nested modules, with layers that are alike told as such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile


@dataclass
class Box:
    """A module with its own nodes and the modules in it, in the order of their first node."""

    path: str
    name: str
    content: list[Box | Node] = field(default_factory=list)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes and those within."""
        return tuple(node for each in self.content for node in (each.nodes if isinstance(each, Box) else (each,)))

    @property
    def boxes(self) -> list[Box]:
        """The modules in it."""
        return [each for each in self.content if isinstance(each, Box)]

    @cached_property
    def time_s(self) -> float:
        """Seconds of all its nodes."""
        return sum(node.time_s for node in self.nodes)

    @property
    def output_bytes(self) -> int:
        """The size of its last value: what would cross a cut behind it, if nothing else did."""
        return self.nodes[-1].output_bytes

    def stages(self, stage_by_node: Mapping[str, int]) -> dict[int, float]:
        """Seconds in each of its stages, in their order; a node that every stage rebuilds is in none."""
        found: dict[int, float] = {}
        for node in self.nodes:
            if node.name in stage_by_node:
                found[stage_by_node[node.name]] = found.get(stage_by_node[node.name], 0.0) + node.time_s
        return dict(sorted(found.items()))

    @cached_property
    def likeness(self) -> int:
        """Equal for modules of the same operations and modules within, whatever their own names."""
        return hash(
            tuple(
                (each.name, each.likeness) if isinstance(each, Box) else (each.op, each.output_bytes)
                for each in self.content
            )
        )


def module_tree(profile: Profile) -> Box:
    """The model as one box; modules that hold nothing but one other module are joined with it."""
    whole = Box("", profile.model.source)
    boxes: dict[str, Box] = {"": whole}
    for node in profile.nodes:
        if node.op not in (INPUT_OP, OUTPUT_OP):
            _box_at(node.module, boxes).content.append(node)
    whole.content = [_without_lone(each) if isinstance(each, Box) else each for each in whole.content]
    return whole


def runs_of_alike(boxes: Iterable[Box | Node]) -> Iterator[list[Box] | Node]:
    """Contents in order, where modules with consecutive numbers that are alike come as one list."""
    run: list[Box] = []
    for each in boxes:
        if isinstance(each, Box) and run and _goes_on(run[-1], each):
            run.append(each)
            continue
        if run:
            yield run
        run = []
        if isinstance(each, Box):
            run = [each]
        else:
            yield each
    if run:
        yield run


def num_boxes(box: Box) -> int:
    """Modules in it, itself included."""
    return 1 + sum(num_boxes(each) for each in box.boxes)


def _box_at(path: str, boxes: dict[str, Box]) -> Box:
    missing = []
    while path not in boxes:
        missing.append(path)
        path = path.rpartition(".")[0]
    box = boxes[path]
    for each in reversed(missing):
        inner = Box(each, each.rpartition(".")[2])
        box.content.append(inner)
        boxes[each] = box = inner
    return box


def _without_lone(box: Box) -> Box:
    """Joined downwards with a lone module in it, unless that is a numbered one."""
    content = [_without_lone(each) if isinstance(each, Box) else each for each in box.content]
    only = content[0]
    if len(content) == 1 and isinstance(only, Box) and not only.name.isdecimal():
        return Box(only.path, f"{box.name}.{only.name}", only.content)
    return Box(box.path, box.name, content)


def _goes_on(last: Box, box: Box) -> bool:
    numbers = last.name.isdecimal() and box.name.isdecimal()
    return numbers and int(box.name) == int(last.name) + 1 and last.likeness == box.likeness
