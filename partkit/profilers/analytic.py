"""Node times without the hardware and without weights: FLOPs and bytes moved, on a named device's published figures.

Each node of the captured graph is called once on fake tensors, under a mode that sees the kernels it comes to. FLOPs
are torch's own formulas (``torch.utils.flop_counter``); bytes are each kernel's operands and results once; a kernel
that only makes a view moves nothing and costs nothing. An operation without a formula (an LSTM, a convolution by FFT)
counts no FLOPs, only its bytes. Sizes that vary are taken at their largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from partkit.data.device_calibration import DeviceCalibration
from partkit.data.gauges import Gauge
from partkit.models.capture.captured import Capture, largest
from partkit.models.capture.sizes import item_size
from partkit.models.decoding.state import extend
from partkit.profilers.calibration_grid import family_of, operation_of
from partkit.profilers.nominal import NominalDevice

aten = torch.ops.aten

_PICKS_ROWS = {aten.embedding, aten.index_select, aten.index, aten.gather}
"""Operations that read of their first tensor no more than they return."""
_ATTENTION = aten.scaled_dot_product_attention
"""One kernel on every device that the figures are for, and not the steps that it decomposes into."""


@dataclass(frozen=True)
class Kernel:
    """What one kernel does."""

    flop: int
    moved_bytes: int
    dtype: str
    operation: str = field(default="", compare=False)
    """Its name in torch.ops, as ``aten.addmm``."""


def analytic_times(
    captured: Capture, device: NominalDevice, calibration: DeviceCalibration | None = None
) -> dict[str, float]:
    """Seconds by node name on ``device``; free nodes, which are computed once at load, are left out.

    By published figures, or corrected by what kernels of about such sizes took on a device of the kind.
    """
    kernels = kernels_by_node(captured)
    return {name: sum(kernel_s(each, device, calibration) for each in found) for name, found in kernels.items()}


def kernel_s(kernel: Kernel, device: NominalDevice, calibration: DeviceCalibration | None = None) -> float:
    """Seconds of one kernel."""
    seconds = device.kernel_time_s(kernel.flop, kernel.moved_bytes, kernel.dtype)
    if calibration is None:
        return seconds
    family = family_of(kernel.operation)
    factor = calibration.factor(family, kernel.operation, kernel.dtype, kernel.flop, kernel.moved_bytes)
    return seconds * factor * calibration.in_model_of(kernel.dtype)


def kernel_of(gauge: Gauge) -> Kernel | None:
    """The kernel that a gauge's operation comes to; None for several or none."""
    with torch.inference_mode(), FakeTensorMode():
        args = [_fake_of(value) for value in gauge.args]
        kernels = _kernels(operation_of(gauge), args, {}, None)
    return kernels[0] if len(kernels) == 1 else None


def _fake_of(told: Any) -> Any:
    if not (isinstance(told, dict) and "tensor" in told):
        return told
    form = told["tensor"]
    return torch.empty_strided(form["shape"], form["stride"], dtype=getattr(torch, form["dtype"]))


def kernels_by_node(captured: Capture) -> Mapping[str, tuple[Kernel, ...]]:
    """The kernels of each operation that depends on a model input; reads no data."""
    found: dict[str, tuple[Kernel, ...]] = {}
    known: dict[str, tuple[Kernel, ...]] = {}
    largest_values = _LargestValues(captured)
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        for node in captured.graph.nodes:
            if node.op != "call_function" or node.name in captured.free:
                continue
            if not isinstance(node.target, torch._ops.OpOverload):
                found[node.name] = ()  # a choice out of a tuple, arithmetic on sizes
                continue
            args, kwargs = fx.map_arg((node.args, node.kwargs), largest_values.of)
            signature = _signature(node, args, kwargs)
            if signature not in known:
                known[signature] = _kernels(node.target, args, kwargs, largest_values.of(node))
            found[node.name] = known[signature]
    return found


def _kernels(target: torch._ops.OpOverload, args: Any, kwargs: Any, result: Any) -> tuple[Kernel, ...]:
    """The kernels of a call; where its result's size depends on the data, one kernel that moves the most it can."""
    mode = _KernelMode()
    try:
        with mode:
            target(*args, **kwargs)
    except RuntimeError:  # what fake tensors raise for nonzero, item and the like
        tensors = _tensors((args, kwargs, result))
        dtype = str(tensors[-1].dtype).removeprefix("torch.") if tensors else "float32"
        return (Kernel(0, sum(map(_dense_bytes, tensors)), dtype),)
    return tuple(mode.kernels)


class _LargestValues:
    """What nodes give at the largest sizes that the model was captured for; tensors hold no data."""

    def __init__(self, captured: Capture) -> None:
        self._sizes = captured.spec.sizes
        self._known: dict[fx.Node, Any] = {}

    def of(self, node: fx.Node) -> Any:
        """The node's value, made once; called under the mode that makes tensors fake."""
        if node not in self._known:
            self._known[node] = self._made(node)
        return self._known[node]

    def _made(self, node: fx.Node) -> Any:
        if "val" in node.meta:
            return pytree.tree_map(_at_largest, node.meta["val"])
        if node.target is item_size:
            return self._sizes[str(node.args[0])]
        assert callable(node.target)
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.of)  # arithmetic on sizes
        return node.target(*args, **kwargs)


def _at_largest(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor) and leaf.layout != torch.strided:
        return torch.empty(leaf.shape, dtype=leaf.dtype, device=leaf.device)  # as if dense: no figure is of sparse ones
    if isinstance(leaf, torch.Tensor):
        shape, stride = (tuple(map(largest, numbers)) for numbers in (leaf.shape, leaf.stride()))
        return torch.empty_strided(shape, stride, dtype=leaf.dtype, device=leaf.device)
    if isinstance(leaf, torch.SymInt):
        return largest(leaf)
    return 1.0 if isinstance(leaf, torch.SymFloat) else leaf


class _KernelMode(TorchDispatchMode):
    """Notes every kernel that is called, after composite operations have come apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: list[Kernel] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", None)
        is_composite = isinstance(func, torch._ops.OpOverload) and func.namespace == "aten"
        if is_composite and packet not in flop_registry and packet is not _ATTENTION:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._note(packet, args, kwargs, result)
        return result

    def _note(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        operands, results = _tensors((args, kwargs)), _tensors(result)
        storages = {each.untyped_storage()._cdata for each in operands}
        made = [each for each in results if each.untyped_storage()._cdata not in storages]
        if packet is extend.overloadpacket:  # its result is the cache itself
            self.kernels.append(Kernel(0, 2 * _dense_bytes(args[1]), str(args[1].dtype).removeprefix("torch.")))
            return
        if not made:
            return
        given = sum(map(_dense_bytes, made))
        if packet in _PICKS_ROWS:
            read = min(_dense_bytes(operands[0]), given) + sum(map(_dense_bytes, operands[1:]))
        else:
            read = sum(map(_dense_bytes, operands))
        flop = _flop(packet, args, kwargs, result)
        dtype = str(made[0].dtype).removeprefix("torch.")
        self.kernels.append(Kernel(flop, read + given, dtype, str(packet)))


def _flop(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    if packet is _ATTENTION:
        query, key, value = (each.shape for each in args[:3])  # torch's formula, for any leading dimensions
        return int(2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))
    formula = flop_registry.get(packet)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result))


def _tensors(tree: Any) -> list[torch.Tensor]:
    """The tree's tensors, each once."""
    leaves: Iterable[Any] = pytree.tree_leaves(tree)
    return list({id(leaf): leaf for leaf in leaves if isinstance(leaf, torch.Tensor)}.values())


def _dense_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the distinct elements: an expanded dimension is read once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= int(size) if stride != 0 else 1
    return count * tensor.dtype.itemsize


def _signature(node: fx.Node, args: Any, kwargs: Any) -> str:
    """What decides a node's kernels: layers repeat, and each distinct operation is looked at once."""
    leaves, structure = pytree.tree_flatten((args, kwargs))
    described = [
        (tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves
    ]
    return f"{node.target}{described}{structure}"
