"""Node times as measured on the device, in the mode and with the thread count that a stage will have.

CPU: whole passes over the graph with a clock around each node, so that caches are as warm or cold as in a
run. CUDA: eager timing would measure launches, so each distinct operation is captured several times over in a
small CUDA graph and its replay is timed. Both are then calibrated against the whole graph as it really runs.

A graph larger than the device's memory comes in windows (:mod:`partkit.stages.windows`), and each is calibrated.
"""

from __future__ import annotations

import functools
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from partkit.machine.clock import stream_s
from partkit.machine.cuda_graph import NotCapturableError, capture_graph

_CPU_BUDGET_S = 4.0
_CPU_MIN_PASSES = 5
_CPU_MAX_PASSES = 200
_CUDA_COPIES = 20
_CUDA_SAMPLES = 5
_WHOLE_REPLAYS = 20
_WARM_S = 0.5


@dataclass(frozen=True)
class Measurement:
    """Seconds by node name, and whole-graph time over their sum."""

    time_s_by_node: dict[str, float]
    scale: float


class NodeTimer:
    """Times every operation of materialised graphs, window after window; ``meet`` is shown each node's call once."""

    def __init__(
        self,
        device: torch.device,
        *,
        num_windows: int = 1,
        num_nodes: int = 0,
        tell: Callable[[int, int], None] | None = None,
        meet: Callable[[fx.Node, functools.partial[Any]], None] | None = None,
    ) -> None:
        self._on_cuda = device.type == "cuda"
        self._num_nodes, self._tell = num_nodes, tell
        self._meet = meet or _meet_none
        self._cpu_budget_s = _CPU_BUDGET_S / num_windows
        self._times: dict[str, float] = {}
        self._seconds_by_signature: dict[str, float] = {}
        self._whole_s = 0.0

    def measure(
        self, module: fx.GraphModule, inputs: Sequence[torch.Tensor], *, as_run: Callable[..., Any] | None = None
    ) -> None:
        """Time a window; ``as_run`` is it in the form that stages will have (compiled, say): the scale is of that."""
        run = module if as_run is None else as_run  # a compiled module has no truth value
        if self._on_cuda:
            can_capture = _whole_cuda_s(run, inputs)[1]  # brings clocks and caches to what they are in a run
            node_s = node_replay_s if can_capture else _launched_s
            self._times |= _time_on_cuda(module, inputs, self._seconds_by_signature, self._done, self._meet, node_s)
            self._whole_s += whole_cuda_s(run, inputs)
        else:
            self._times |= _time_on_cpu(module, inputs, self._cpu_budget_s, self._done, self._meet)
            self._whole_s += whole_cpu_s(run, inputs, self._cpu_budget_s / 2)

    def _done(self, of_window: float) -> None:
        """Tell how many nodes are done, of this window's and those before."""
        if self._tell is not None:
            self._tell(min(len(self._times) + int(of_window), self._num_nodes), self._num_nodes)

    def measurement(self) -> Measurement:
        """Of all windows so far."""
        total = sum(self._times.values())
        return Measurement(self._times, self._whole_s / total if total > 0 else 1.0)


def whole_cpu_s(
    module: Callable[..., Any], inputs: Sequence[torch.Tensor], budget_s: float = _CPU_BUDGET_S / 2
) -> float:
    """Median seconds of one call on the CPU, over at least five calls and about ``budget_s``."""
    times: list[float] = []
    start = time.perf_counter()
    with torch.inference_mode():
        module(*inputs)
        while len(times) < _CPU_MIN_PASSES or (time.perf_counter() - start < budget_s and len(times) < _CPU_MAX_PASSES):
            begin = time.perf_counter()
            module(*inputs)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def whole_cuda_s(module: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> float:
    """Seconds of one replay of the whole call as a CUDA graph; of one call after the other where none can hold it."""
    return _whole_cuda_s(module, inputs)[0]


def _whole_cuda_s(module: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> tuple[float, bool]:
    """Seconds of the whole call, and whether a CUDA graph can hold it."""
    with torch.inference_mode():
        try:
            return _replay_s(lambda: module(*inputs), copies=1, warm_s=_WARM_S, replays=_WHOLE_REPLAYS), True
        except NotCapturableError:
            return stream_s(lambda: module(*inputs), torch.cuda.current_stream()), False


def _meet_none(_node: fx.Node, _call: functools.partial[Any]) -> None:
    """For who wants times alone."""


# --- CPU ----------------------------------------------------------------------------------------------------


def _time_on_cpu(
    module: fx.GraphModule,
    inputs: Sequence[torch.Tensor],
    budget_s: float,
    tell: Callable[[float], None],
    meet: Callable[[fx.Node, functools.partial[Any]], None],
) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    passes = _NodePasses(module)

    def met(node: fx.Node, call: functools.partial[Any]) -> Any:
        meet(node, call)
        return call()

    with torch.inference_mode():
        begin = time.perf_counter()
        passes.run(inputs, met)
        count = round(budget_s / max(time.perf_counter() - begin, 1e-6))
        count = min(max(count, _CPU_MIN_PASSES), _CPU_MAX_PASSES)

        def clocked(node: fx.Node, call: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            value = call()
            times.setdefault(node.name, []).append(time.perf_counter() - start)
            return value

        for done in range(count):
            tell(len(times) * done / count)
            passes.run(inputs, clocked)
    return {name: statistics.median(samples) for name, samples in times.items()}


class _NodePasses:
    """Runs a graph node by node, each value dropped after its last use as generated code does."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.nodes = list(module.graph.nodes)
        self.dead_after: dict[fx.Node, list[fx.Node]] = {}
        for node in self.nodes:
            if node.users and node.op != "get_attr":
                last = max(node.users, key=self.nodes.index)
                self.dead_after.setdefault(last, []).append(node)
        self.held = {node: getattr(module, str(node.target)) for node in self.nodes if node.op == "get_attr"}

    def run(self, inputs: Sequence[torch.Tensor], around: Callable[[fx.Node, functools.partial[Any]], Any]) -> None:
        """One pass; ``around(node, call)`` must return ``call()``."""
        values: dict[fx.Node, Any] = dict(self.held)
        waiting = iter(inputs)
        for node in self.nodes:
            if node.op == "placeholder":
                values[node] = next(waiting)
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                assert callable(node.target)
                function: Callable[..., Any] = node.target
                values[node] = around(node, functools.partial(function, *args, **kwargs))
            for dead in self.dead_after.get(node, ()):
                del values[dead]


# --- CUDA ---------------------------------------------------------------------------------------------------


def _time_on_cuda(
    module: fx.GraphModule,
    inputs: Sequence[torch.Tensor],
    seconds_by_signature: dict[str, float],
    tell: Callable[[float], None],
    meet: Callable[[fx.Node, functools.partial[Any]], None],
    node_s: Callable[[Callable[[], Any]], float],
) -> dict[str, float]:
    """Time each distinct operation (function, shapes, strides, constants) once by ``node_s``; equal ones share the
    figure."""
    times: dict[str, float] = {}
    passes = _NodePasses(module)

    def replayed(node: fx.Node, call: functools.partial[Any]) -> Any:
        value = call()
        meet(node, call)
        signature = _signature(node, call)
        if signature not in seconds_by_signature:
            seconds_by_signature[signature] = node_s(call)
        times[node.name] = seconds_by_signature[signature]
        tell(len(times))
        return value

    with torch.inference_mode():
        passes.run(inputs, replayed)
    return times


def _signature(node: fx.Node, call: functools.partial[Any]) -> str:
    def describe(leaf: object) -> object:
        return (tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf

    leaves, structure = pytree.tree_flatten((call.args, call.keywords))
    return f"{node.target}{[describe(leaf) for leaf in leaves]}{structure}"


def node_replay_s(call: Callable[[], Any], *, warm_s: float = 0.0) -> float:
    """Seconds of a node as stages will run it, in a graph; timed after ``warm_s`` of replays."""
    try:
        return _replay_s(call, copies=_CUDA_COPIES, warm_s=warm_s)
    except NotCapturableError:  # an operation that waits for the device: its eager time is what it costs
        return _launched_s(call)


def _replay_s(call: Callable[[], Any], *, copies: int, warm_s: float = 0.0, replays: int = 1) -> float:
    """Seconds of one call inside a CUDA graph that holds it ``copies`` times, of ``replays`` that follow each other."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # a view launches nothing
        kept: list[Any] = []
        capture_graph(graph, lambda: kept.extend(call() for _ in range(copies)), stream=_stream_of_caller())
    begin = time.perf_counter()
    graph.replay()
    while time.perf_counter() - begin < warm_s:
        graph.replay()
        torch.cuda.synchronize()
    samples = []
    for _ in range(_CUDA_SAMPLES):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(replays):
            graph.replay()
        end.record()
        end.synchronize()
        samples.append(start.elapsed_time(end) / 1e3 / copies / replays)
    return float(statistics.median(samples))


def _stream_of_caller() -> torch.cuda.Stream | None:
    """The current stream, to capture on too; None for the default one, which cannot be captured on."""
    stream = torch.cuda.current_stream()
    return None if stream == torch.cuda.default_stream() else stream


def _launched_s(call: Callable[[], Any]) -> float:
    """Seconds of one call of many, launched one after the other: the longer of its kernels and their launch."""
    samples = []
    for _ in range(_CUDA_SAMPLES):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(_CUDA_COPIES):
            call()
        torch.cuda.synchronize()
        samples.append((time.perf_counter() - begin) / _CUDA_COPIES)
    return statistics.median(samples)
