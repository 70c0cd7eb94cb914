"""A captured graph and an assignment of nodes -> one flat graph for each stage, and what each edge carries.

    captured:   input_ids -> a -> b -> c -> output            stage_by_node = {a: 0, b: 1, c: 1, ...}
    stage 0:    input_ids -> a            sends {1: (a,)}
    stage 1:    a -> b -> c               returns the model's output leaves

A stage's graph is copied node by node and runs as generated code, never in an interpreter. Free nodes are
copied to every stage that uses them and folded to constants when the stage is given its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from partkit.capture import Capture
from partkit.errors import MismatchError


@dataclass(frozen=True)
class ValueSpec:
    """A tensor that crosses between stages: dense, in this shape and dtype.

    ``stride`` keeps the order of dimensions in memory that the value had when captured, since a ``view`` on the
    receiving stage may rely on it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    stride: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the dense tensor."""
        count = 1
        for size in self.shape:
            count *= size
        return count * self.dtype.itemsize


@dataclass(frozen=True)
class StageGraph:
    """One stage, without weights.

    ``graph`` takes ``takes`` in order (model inputs first held here, then values received) and gives the
    tuple ``gives``. ``receives`` and ``sends`` list values by the other stage; ``leaves`` are the model's
    flat outputs, by value name or as constants, on the stage that returns them, else None.
    """

    index: int
    graph: fx.Graph
    takes: tuple[ValueSpec, ...]
    gives: tuple[str, ...]
    model_inputs: tuple[str, ...]
    receives: Mapping[int, tuple[ValueSpec, ...]]
    sends: Mapping[int, tuple[ValueSpec, ...]]
    leaves: tuple[Any, ...] | None
    tensor_names: tuple[str, ...]
    free: frozenset[str]


def cut(captured: Capture, stage_by_node: Mapping[str, int], num_stages: int) -> tuple[StageGraph, ...]:
    """Split a captured graph into stages.

    ``stage_by_node`` names every node that is neither free nor a parameter, the inputs and ``output``
    included. Raises :class:`MismatchError` where the names are not those of the graph.
    """
    _check_names(captured, stage_by_node)
    sends: list[dict[int, dict[str, ValueSpec]]] = [{} for _ in range(num_stages)]
    for node in captured.graph.nodes:
        if node.name not in stage_by_node:
            continue
        here = stage_by_node[node.name]
        for user in node.users:
            there = stage_by_node[user.name]
            if there != here:
                sends[here].setdefault(there, {})[node.name] = value_spec(node)
    builders = [_StageBuilder(captured, stage_by_node, index) for index in range(num_stages)]
    frozen = [{to: tuple(values.values()) for to, values in sorted(edges.items())} for edges in sends]
    return tuple(
        builder.build(
            frozen[builder.index],
            {s: frozen[s][builder.index] for s in range(num_stages) if builder.index in frozen[s]},
        )
        for builder in builders
    )


def value_spec(node: fx.Node) -> ValueSpec:
    """Shape and dtype of a node's value. Raises :class:`MismatchError` for a value that is no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        raise MismatchError(
            f"the cut would send {node.name}, which is a {type(value).__name__} and not a tensor",
            hint="move the cut by a node, or re-plan with 'partkit plan'",
        )
    shape = tuple(int(size) for size in value.shape)
    layout = torch.empty_strided(shape, value.stride(), dtype=value.dtype, device="meta")
    return ValueSpec(node.name, shape, value.dtype, torch.empty_like(layout).stride())


def _check_names(captured: Capture, stage_by_node: Mapping[str, int]) -> None:
    placed = {node.name for node in captured.graph.nodes if node.op != "get_attr"} - captured.free
    missing, unknown = sorted(placed - set(stage_by_node)), sorted(set(stage_by_node) - placed)
    if missing or unknown:
        raise MismatchError(
            f"the plan's nodes are not those of {captured.spec.source}: {len(missing)} missing "
            f"({', '.join(missing[:3]) or 'none'}), {len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'})",
            hint="re-plan with 'partkit plan'",
        )


class _StageBuilder:
    """Copies one stage's nodes into a graph of their own."""

    def __init__(self, captured: Capture, stage_by_node: Mapping[str, int], index: int) -> None:
        self.captured, self.stage_by_node, self.index = captured, stage_by_node, index
        self.graph = fx.Graph()
        self.copies: dict[fx.Node, fx.Node] = {}
        self.takes: list[ValueSpec] = []
        self.leaves: tuple[Any, ...] | None = None

    def build(
        self, sends: Mapping[int, tuple[ValueSpec, ...]], receives: Mapping[int, tuple[ValueSpec, ...]]
    ) -> StageGraph:
        """The stage's graph; ``sends`` and ``receives`` are its edges by the other stage."""
        own = [n for n in self.captured.graph.nodes if self.stage_by_node.get(n.name) == self.index]
        model_inputs = [node for node in own if node.op == "placeholder"]
        for node in model_inputs:
            self._take(node)
        nodes = self.captured.nodes
        for values in receives.values():
            for value in values:
                self._take(nodes[value.name])
        for node in own:
            if node.op == "output":
                flat = node.args[0]
                assert isinstance(flat, tuple | list)
                self.leaves = tuple(self._copy(leaf).name if isinstance(leaf, fx.Node) else leaf for leaf in flat)
            elif node.op != "placeholder":
                self._copy(node)
        return self._finish(sends, receives, tuple(node.name for node in model_inputs))

    def _take(self, node: fx.Node) -> None:
        copy = self.graph.placeholder(node.name)
        copy.name = node.name  # as the capture has it, also where it is a Python builtin
        copy.meta = {"val": node.meta.get("val")}
        self.copies[node] = copy
        self.takes.append(value_spec(node))

    def _copy(self, node: fx.Node) -> fx.Node:
        """The stage's copy of a node, made now if it is free, a parameter or its turn has come."""
        if node not in self.copies:
            for needed in node.all_input_nodes:
                self._copy(needed)
            self.copies[node] = self.graph.node_copy(node, lambda n: self.copies[n])
        return self.copies[node]

    def _finish(
        self,
        sends: Mapping[int, tuple[ValueSpec, ...]],
        receives: Mapping[int, tuple[ValueSpec, ...]],
        model_inputs: tuple[str, ...],
    ) -> StageGraph:
        names = [value.name for values in sends.values() for value in values]
        copies = {copy.name: copy for copy in self.copies.values()}
        nodes = self.captured.nodes
        gives: dict[str, fx.Node] = {name: self.copies[nodes[name]] for name in names}
        gives.update({leaf: copies[leaf] for leaf in self.leaves or () if isinstance(leaf, str) and leaf in copies})
        self.graph.output(tuple(gives.values()))
        self.graph.lint()
        return StageGraph(
            index=self.index,
            graph=self.graph,
            takes=tuple(self.takes),
            gives=tuple(gives),
            model_inputs=model_inputs,
            receives=receives,
            sends=sends,
            leaves=self.leaves,
            tensor_names=tuple(str(n.target) for n in self.graph.nodes if n.op == "get_attr"),
            free=frozenset(copy.name for node, copy in self.copies.items() if node.name in self.captured.free),
        )


# --- giving a stage its weights ---------------------------------------------------------------------------------


def materialise(
    stage: StageGraph, captured: Capture, read: Callable[[str], torch.Tensor], device: torch.device
) -> fx.GraphModule:
    """The stage as a callable GraphModule on ``device``, with only its own tensors.

    ``read`` gives a parameter or buffer by name on the CPU. Free nodes are computed here, once; a parameter
    that only they read is not kept.
    """
    graph, values = fx.Graph(), dict[str, Any]()
    copies: dict[fx.Node, fx.Node] = {}
    folded: dict[fx.Node, Any] = {}
    with torch.inference_mode():
        for node in stage.graph.nodes:
            if node.op == "get_attr" and str(node.target) in captured.submodules:
                folded[node] = captured.submodules[str(node.target)]
            elif node.op == "get_attr":
                folded[node] = read(str(node.target)).to(device)
            elif node.name in stage.free:
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: folded[n])
                folded[node] = node.target(*_on(device, args), **_on(device, kwargs))
    for node in stage.graph.nodes:
        if node in folded:
            continue
        for needed in node.all_input_nodes:
            if needed in folded and needed not in copies:
                attribute = f"held_{len(values)}"
                values[attribute] = folded[needed]
                copies[needed] = graph.create_node("get_attr", attribute, name=needed.name)
        copies[node] = graph.node_copy(node, lambda n: copies[n])
        if node.op == "call_function":
            copies[node].args, copies[node].kwargs = _on(device, copies[node].args), _on(device, copies[node].kwargs)
    return fx.GraphModule(values, graph, class_name=f"Stage{stage.index}")


def _on(device: torch.device, arguments: Any) -> Any:
    """The same arguments with every device named in them replaced: graphs are captured for the CPU."""
    return fx.node.map_aggregate(arguments, lambda leaf: device if isinstance(leaf, torch.device) else leaf)
