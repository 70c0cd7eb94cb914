"""A captured graph and an assignment of nodes -> one flat graph for each stage, and what each edge carries.

    captured:   input_ids -> a -> b -> c -> output            stage_by_node = {a: 0, b: 1, c: 1, ...}
    stage 0:    input_ids -> a            sends {1: (a,)}
    stage 1:    a -> b -> c               returns the model's output leaves

A stage's graph is copied node by node and runs as generated code, never in an interpreter. Free nodes are
copied to every stage that uses them and folded to constants when the stage is given its weights. So are nodes
that the plan has a stage recompute rather than receive, except that they are computed for each item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from partkit.data.plan import Plan
from partkit.errors import MismatchError
from partkit.models.capture import Capture, has_known_shape, is_repeatable
from partkit.models.capture.layouts import rely_on_no_order
from partkit.models.capture.sizes import Symbols, concrete


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


Leaves = list[torch.Tensor | None]
"""A model's outputs for one item, flat, on the CPU; None where a leaf is no tensor."""


@dataclass(frozen=True)
class Computed:
    """One of the model's flat outputs that the graph computes. Every other is a constant, a string perhaps that is the
    name of a value too: so a name by itself never stands for a value.
    """

    name: str


@dataclass(frozen=True)
class StageGraph:
    """One stage, without weights.

    ``graph`` takes ``takes`` in order (model inputs first held here, then values received) and gives the
    tuple ``gives``. ``receives`` and ``sends`` list values by the other stage; ``leaves`` are the model's
    flat outputs, :class:`Computed` or constants, on the stage that returns them, else None.
    """

    index: int
    graph: fx.Graph
    takes: tuple[ValueSpec, ...]
    gives: tuple[str, ...]
    model_inputs: tuple[str, ...]
    """As the model's spec names them; a node may be called otherwise (``input_1``), where a name is Python's."""
    receives: Mapping[int, tuple[ValueSpec, ...]]
    sends: Mapping[int, tuple[ValueSpec, ...]]
    leaves: tuple[Any, ...] | None
    free: frozenset[str]
    symbols: Symbols

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values that the stage gives of the model's outputs, each once."""
        return tuple(dict.fromkeys(leaf.name for leaf in self.leaves or () if isinstance(leaf, Computed)))

    @property
    def depends_on_data(self) -> bool:
        """True where the host must see values while the stage runs: a number, how many rows a mask picks."""
        return any(
            node.op == "call_function" and node.name not in self.free and not has_known_shape(node)
            for node in self.graph.nodes
        )

    def at(self, sizes: Mapping[str, int]) -> StageGraph:
        """The stage with what crosses its edges as large as it is for given sizes; ``cut`` gives the largest."""
        if not self.symbols:
            return self
        given = dict(zip(self.gives, self.graph.output_node().args[0], strict=True))  # type: ignore[arg-type]
        taken = {node.name: node for node in self.graph.find_nodes(op="placeholder")}

        def resized(value: ValueSpec) -> ValueSpec:
            return value_spec({**taken, **given}[value.name], self.symbols, sizes)

        def edges(values_by_stage: Mapping[int, tuple[ValueSpec, ...]]) -> dict[int, tuple[ValueSpec, ...]]:
            return {stage: tuple(resized(value) for value in values) for stage, values in values_by_stage.items()}

        takes = tuple(resized(value) for value in self.takes)
        return replace(self, takes=takes, receives=edges(self.receives), sends=edges(self.sends))


def cut(
    captured: Capture,
    stage_by_node: Mapping[str, int],
    num_stages: int,
    *,
    recomputes: Mapping[int, Set[str]] | None = None,
) -> tuple[StageGraph, ...]:
    """Split a captured graph into stages.

    ``stage_by_node`` names every node that is neither free nor a parameter, the inputs and ``output``
    included. What a stage uses of another is sent to it, except nodes that ``recomputes`` names for it: those it
    computes again. Raises :class:`MismatchError` where the names are not those of the graph, and for a node that
    would not give the same value again.
    """
    _check_names(captured, stage_by_node)
    again = {stage: _repeatable(captured, names) for stage, names in (recomputes or {}).items()}
    computed, crossing = _follow(captured, stage_by_node, again)
    sends: list[dict[int, tuple[ValueSpec, ...]]] = [{} for _ in range(num_stages)]
    for source, target in sorted(crossing):
        names = crossing[source, target]
        sends[source][target] = tuple(largest_spec(captured, node) for node in captured.graph.nodes if node in names)
    builders = [_StageBuilder(captured, stage_by_node, index, computed[index]) for index in range(num_stages)]
    return tuple(
        builder.build(
            sends[builder.index],
            {s: sends[s][builder.index] for s in range(num_stages) if builder.index in sends[s]},
        )
        for builder in builders
    )


def cut_plan(captured: Capture, plan: Plan) -> tuple[StageGraph, ...]:
    """The stages of a plan; raises what :func:`cut` raises."""
    return cut(captured, plan.stage_by_node, len(plan.stages), recomputes=plan.recomputes_by_stage)


def uncut(captured: Capture) -> StageGraph:
    """The whole graph as one stage."""
    (whole,) = cut(captured, dict.fromkeys(captured.placed, 0), 1)
    return whole


def _follow(
    captured: Capture, stage_by_node: Mapping[str, int], again: Mapping[int, Set[fx.Node]]
) -> tuple[dict[int, set[fx.Node]], dict[tuple[int, int], set[fx.Node]]]:
    """Backwards from the result: what each stage must compute, and what crosses from stage to stage."""
    computed: dict[int, set[fx.Node]] = defaultdict(set)
    crossing: dict[tuple[int, int], set[fx.Node]] = defaultdict(set)
    waiting = [(node, stage_by_node[node.name]) for node in captured.graph.nodes if node.op == "output"]
    while waiting:
        node, stage = waiting.pop()
        if node in computed[stage]:
            continue
        computed[stage].add(node)
        for operand in node.all_input_nodes:
            owner = stage_by_node.get(operand.name, stage)  # free nodes and parameters are wherever they are used
            if owner != stage and operand not in again.get(stage, ()):
                crossing[owner, stage].add(operand)
                waiting.append((operand, owner))
            else:
                waiting.append((operand, stage))
    return computed, crossing


def _repeatable(captured: Capture, names: Set[str]) -> set[fx.Node]:
    nodes = captured.nodes
    for name in sorted(names):
        if name not in nodes or not is_repeatable(nodes[name]):
            raise MismatchError(
                f"the plan recomputes {name!r} of {captured.spec.source}, which gives no such value again",
                hint="leave it out of 'recomputes', or re-plan with 'partkit plan'",
            )
    return {nodes[name] for name in names}


def value_spec(node: fx.Node, symbols: Symbols | None = None, sizes: Mapping[str, int] | None = None) -> ValueSpec:
    """Shape and dtype of a node's value, for ``sizes`` where they vary.

    Raises :class:`MismatchError` for a value that is no tensor.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not has_known_shape(node):
        what = (
            f"a {type(value).__name__}" if not isinstance(value, torch.Tensor) else "of a size known only when it runs"
        )
        raise MismatchError(
            f"the cut would send {node.name}, which is {what} and not a tensor of known shape",
            hint="move the cut by a node, or re-plan with 'partkit plan'",
        )
    shape = concrete(tuple(value.shape), symbols or {}, sizes or {})
    strides = concrete(value.stride(), symbols or {}, sizes or {})
    layout = torch.empty_strided(shape, strides, dtype=value.dtype, device="meta")
    return ValueSpec(node.name, shape, value.dtype, torch.empty_like(layout).stride())


def largest_spec(captured: Capture, node: fx.Node) -> ValueSpec:
    """The value at the largest sizes that the model was captured for."""
    return value_spec(node, captured.symbols, captured.spec.sizes)


def _check_names(captured: Capture, stage_by_node: Mapping[str, int]) -> None:
    placed = set(captured.placed)
    missing, unknown = sorted(placed - set(stage_by_node)), sorted(set(stage_by_node) - placed)
    if missing or unknown:
        raise MismatchError(
            f"the plan's nodes are not those of {captured.spec.source}: {len(missing)} missing "
            f"({', '.join(missing[:3]) or 'none'}), {len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'})",
            hint="re-plan with 'partkit plan'",
        )


class _StageBuilder:
    """Copies one stage's nodes into a graph of their own."""

    def __init__(self, captured: Capture, stage_by_node: Mapping[str, int], index: int, computed: Set[fx.Node]) -> None:
        self.captured, self.stage_by_node, self.index, self.computed = captured, stage_by_node, index, computed
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
                for leaf in node.all_input_nodes:
                    self._copy(leaf)
                self.leaves = tuple(Computed(leaf.name) if isinstance(leaf, fx.Node) else leaf for leaf in flat)
            elif node in self.computed and node.op != "placeholder":
                self._copy(node)
        return self._finish(sends, receives, tuple(str(node.target) for node in model_inputs))

    def _take(self, node: fx.Node) -> None:
        copy = self.graph.placeholder(node.name)
        copy.name = node.name  # as the capture has it, also where it is a Python builtin
        copy.meta = {"val": node.meta.get("val")}
        self.copies[node] = copy
        self.takes.append(largest_spec(self.captured, node))

    def _copy(self, node: fx.Node) -> fx.Node:
        """The stage's copy of a node, made now if it is free, a parameter, recomputed, or its turn has come."""
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
        names += [leaf.name for leaf in self.leaves or () if isinstance(leaf, Computed)]
        nodes = self.captured.nodes
        gives: dict[str, fx.Node] = {name: self.copies[nodes[name]] for name in names}
        self.graph.output(tuple(gives.values()))
        free = {copy.name for node, copy in self.copies.items() if node.name in self.captured.free}
        constant = free | {copy.name for node, copy in self.copies.items() if node.op == "get_attr"}
        for added in rely_on_no_order(self.graph):
            if all(operand.name in constant for operand in added.all_input_nodes):
                free.add(added.name)
                constant.add(added.name)
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
            free=frozenset(free),
            symbols=self.captured.symbols,
        )
