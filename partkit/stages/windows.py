"""The uncut graph in consecutive windows that fit a memory budget: how a model larger than its device is run there.

A window is a run of nodes in the graph's own order with the tensors that they read. Windows are worked through one
after the other, each with its weights on the device and those of no other; what a later window uses waits on the host.
Where windows part has nothing to do with where a plan cuts.

    graph     a b c d | e f g | h i j k | l output
    device    [A B C D]
                        [E F G]
                                [H I J K]           one window's weights at a time
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import fx

from partkit.data.units import format_bytes
from partkit.errors import InfeasibleError
from partkit.models.capture import Capture, value_bytes
from partkit.models.capture.groups import node_groups
from partkit.stages.cut import Computed, Leaves, StageGraph, cut
from partkit.stages.load_tensors import Read
from partkit.stages.materialise import materialise

Window = StageGraph
"""A window is cut as a stage is, and has the same parts."""


def make_windows(captured: Capture, budget_bytes: int | None) -> tuple[Window, ...]:
    """Cut the graph into as few consecutive windows as each fit ``budget_bytes``; one window for None.

    What counts is the window's weights, what it takes from earlier ones and the largest sum of its values that are
    alive at once. Raises :class:`InfeasibleError` where nodes that must stay together need more by themselves.
    O(nodes x windows).
    """
    positions = [0] if budget_bytes is None else _Packing(captured).starts(budget_bytes)
    names = captured.placed
    window_by_node = {name: sum(start <= index for start in positions[1:]) for index, name in enumerate(names)}
    return cut(captured, window_by_node, len(positions))


def run_windows(
    windows: Sequence[Window],
    captured: Capture,
    read: Read,
    device: torch.device,
    items: Sequence[Mapping[str, torch.Tensor]],
    *,
    sizes: Mapping[str, int] | None = None,
    visit: Callable[[fx.GraphModule, list[torch.Tensor]], None] | None = None,
) -> list[Leaves]:
    """Run items, each a mapping of model inputs by name, and give the model's flat outputs of each, on the CPU.

    Weights are read once in all: every item goes through a window before the next window is made. ``sizes`` are the
    items' where those vary (default: the largest). ``visit`` is shown each window as a module with the inputs of the
    first item, before that item goes through.
    """
    passes = [_Pass(item) for item in items]
    last_user = {name: window.index for window in windows for name in _received(window)}
    for window in windows:
        module = materialise(window, captured, read, device, sizes=sizes)
        for each in passes:
            each.through(window, module, device, visit if each is passes[0] else None)
            each.forget(name for name in list(each.values) if last_user.get(name, -1) <= window.index)
        del module
        gc.collect()  # a graph and its module hold each other: their weights go before the next window's come
    return [each.leaves for each in passes]


class _Pass:
    """One item on its way through the windows; its values wait on the CPU."""

    def __init__(self, inputs: Mapping[str, torch.Tensor]) -> None:
        self._inputs = inputs
        self.values: dict[str, torch.Tensor] = {}
        self.leaves: Leaves = []

    def through(
        self,
        window: Window,
        module: fx.GraphModule,
        device: torch.device,
        visit: Callable[[fx.GraphModule, list[torch.Tensor]], None] | None,
    ) -> None:
        """Compute a window and keep what it gives."""
        taken = [self._inputs[name] for name in window.model_inputs]
        taken += [self.values[name] for name in _received(window)]
        fed = [tensor.to(device) for tensor in taken]
        with torch.inference_mode():
            if visit is not None:
                visit(module, fed)
            given = dict(zip(window.gives, module(*fed), strict=True))
            self.values |= {name: value.detach().to("cpu", copy=True) for name, value in given.items()}
        if window.leaves is not None:
            self.leaves = [self.values[leaf.name] if isinstance(leaf, Computed) else None for leaf in window.leaves]

    def forget(self, names: Iterable[str]) -> None:
        """Let go of values that no later window takes."""
        for name in names:
            del self.values[name]


def _received(window: Window) -> Iterator[str]:
    """Names of the values that a window takes from earlier ones, in order."""
    return (value.name for value in window.takes[len(window.model_inputs) :])


class _Packing:
    """Sizes of everything in the graph, and how much of it fits a window."""

    def __init__(self, captured: Capture) -> None:
        nodes = captured.nodes
        self._placed = [nodes[name] for name in captured.placed]
        self._tensors, self._free = captured.tensors, captured.free
        position = {node: index for index, node in enumerate(self._placed)}
        self._last_use = [
            max((position[user] for user in node.users if user in position), default=-1) for node in self._placed
        ]
        self._bytes = [0 if node.op == "output" else value_bytes(node) for node in self._placed]
        self._position = position
        self._held = [self._held_by(node) for node in self._placed]
        self._may_part = self._partings(captured)

    def starts(self, budget_bytes: int) -> list[int]:
        """Positions where windows begin, each as long as fits."""
        found, start = [0], 0
        while (end := self._end(start, budget_bytes)) < len(self._placed):
            found.append(end)
            start = end
        return found

    def _end(self, start: int, budget_bytes: int) -> int:
        """Where the longest window from ``start`` ends."""
        held: set[str] = set()
        taken: set[int] = set()
        fixed = live = peak = 0
        ends: dict[int, list[int]] = {}
        end, needed_by_end = start, 0
        for index in range(start, len(self._placed)):
            for name, num_bytes in self._held[index]:
                fixed += 0 if name in held else num_bytes
                held.add(name)
            for operand in self._placed[index].all_input_nodes:
                source = self._position.get(operand, -1)
                if 0 <= source < start and source not in taken:
                    taken.add(source)
                    fixed += self._bytes[source]
            live += self._bytes[index]
            peak = max(peak, live)
            ends.setdefault(max(self._last_use[index], index), []).append(index)
            live -= sum(self._bytes[dead] for dead in ends.pop(index, ()))
            if fixed + peak > budget_bytes and end > start:
                return end
            if index + 1 == len(self._placed) or self._may_part[index + 1]:
                end, needed_by_end = index + 1, fixed + peak
                if needed_by_end > budget_bytes:
                    raise self._too_large(start, end, needed_by_end, budget_bytes)
        return end

    def _too_large(self, start: int, end: int, needed: int, budget: int) -> InfeasibleError:
        names = [node.name for node in self._placed[start:end]]
        what = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} nodes that stay together)"
        return InfeasibleError(
            f"{what} with weights and operands need {format_bytes(needed)}, and the budget is {format_bytes(budget)}",
            hint=f"give --memory {format_bytes(needed).replace(' ', '')} or more",
        )

    def _held_by(self, node: fx.Node) -> list[tuple[str, int]]:
        """Tensors and folded values that a node has on the device, by name."""
        held = []
        for operand in node.all_input_nodes:
            if operand.op == "get_attr" and str(operand.target) in self._tensors:
                held.append((str(operand.target), self._tensors[str(operand.target)].num_bytes))
            elif operand.name in self._free:
                held.append((operand.name, value_bytes(operand)))
        return held

    def _partings(self, captured: Capture) -> list[bool]:
        """For each position whether a window may begin there: no group lies on both sides."""
        groups = node_groups(captured)
        spans: dict[str, tuple[int, int]] = {}
        for node, index in self._position.items():
            if node.name in groups:
                first, _ = spans.get(groups[node.name], (index, index))
                spans[groups[node.name]] = (first, index)
        may = [True] * len(self._placed)
        for first, last in spans.values():
            may[first + 1 : last + 1] = [False] * (last - first)
        return may
