"""Node times without the hardware and without weights: FLOPs and bytes moved, on a named device's published figures.

Each node of the captured graph is called once on fake tensors, under a mode that sees the kernels it comes to. FLOPs
are torch's own formulas (``torch.utils.flop_counter``); bytes are each kernel's operands and results once; a kernel
that only makes a view moves nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from partkit.capture import Capture
from partkit.capture.sizes import at_largest
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


def analytic_times(captured: Capture, device: NominalDevice) -> dict[str, float]:
    """Seconds by node name on ``device``; free nodes, which are computed once at load, are left out."""
    kernels = kernels_by_node(captured)
    return {
        name: sum(device.kernel_time_s(each.flop, each.moved_bytes, each.dtype) for each in found)
        for name, found in kernels.items()
    }


def kernels_by_node(captured: Capture) -> Mapping[str, tuple[Kernel, ...]]:
    """The kernels of each operation that depends on a model input; reads no data."""
    found: dict[str, tuple[Kernel, ...]] = {}
    known: dict[str, tuple[Kernel, ...]] = {}
    with torch.inference_mode():
        for node in captured.graph.nodes:
            if node.op != "call_function" or node.name in captured.free:
                continue
            signature = _signature(node)
            if signature not in known:
                known[signature] = _kernels(captured, node)
            found[node.name] = known[signature]
    return found


def _kernels(captured: Capture, node: fx.Node) -> tuple[Kernel, ...]:
    if not isinstance(node.target, torch._ops.OpOverload):
        return ()  # a choice out of a tuple, arithmetic on sizes
    symbols, sizes = captured.symbols, captured.spec.sizes
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: at_largest(source.meta["val"], symbols, sizes))
    with _KernelMode() as mode:
        node.target(*args, **kwargs)
    return tuple(mode.kernels)


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
        if not made:
            return
        given = sum(map(_dense_bytes, made))
        if packet in _PICKS_ROWS:
            read = min(_dense_bytes(operands[0]), given) + sum(map(_dense_bytes, operands[1:]))
        else:
            read = sum(map(_dense_bytes, operands))
        flop = _flop(packet, args, kwargs, result)
        self.kernels.append(Kernel(flop, read + given, str(made[0].dtype).removeprefix("torch.")))


def _flop(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    if packet is _ATTENTION:
        return int(sdpa_flop_count(*(each.shape for each in args[:3])))
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


def _signature(node: fx.Node) -> str:
    """What decides a node's kernels: layers repeat, and each distinct operation is looked at once."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: source.meta.get("val"))
    leaves, structure = pytree.tree_flatten((args, kwargs))
    described = [
        (tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves
    ]
    return f"{node.target}{described}{structure}"
