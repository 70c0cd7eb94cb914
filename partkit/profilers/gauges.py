"""Heavy operations of a model told as JSON, and timed again on random values of the same form.

while profiling     meet every node -> the heaviest distinct operations, each timed alone too
days later          the same operations timed alone: no model, no weights, no capture
"""

from __future__ import annotations

import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from partkit.data.gauges import Gauge, has_tensor
from partkit.profilers.measured import node_replay_s

_MAX_GAUGES = 6
_SHARE = 0.9
"""Of all nodes' time: with so much in gauges, no more are taken."""
_BUDGET_S = 0.6
"""Of all gauges together."""
_CPU_CALLS, _CUDA_CALLS = 3, 125
"""Calls that timing a gauge takes at least."""
_WARM_S = 0.3
_MOST_VALUES = 128
"""Integers are kept as they are up to this many: offsets, group sizes; more of them are indexes, and zeros will do."""
_BLOCK = 2**16
_DEMANDING = frozenset(("bernoulli", "binary_cross_entropy", "binomial", "multinomial", "poisson"))
"""Operations that end the CUDA context where a random value is no probability or rate."""
_NAMED = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}
"""Kinds of values that are told by their names in torch."""


class _UntoldError(Exception):
    """A value that has no JSON form here."""


@dataclass
class Operations:
    """The distinct operations of a model, met node by node while it is measured."""

    _told: dict[str, Gauge] = field(default_factory=dict)
    _nodes: dict[str, list[str]] = field(default_factory=dict)

    def meet(self, node: fx.Node, call: functools.partial[Any]) -> None:
        """Take note of a node's operation, where it is one that can be told."""
        try:
            gauge = _told(call)
        except _UntoldError:
            return
        signature = json.dumps([gauge.operation, gauge.args, gauge.kwargs])
        self._told.setdefault(signature, gauge)
        self._nodes.setdefault(signature, []).append(node.name)

    def gauges(self, time_s_by_node: Mapping[str, float], device: torch.device) -> tuple[Gauge, ...]:
        """The heaviest ones, timed alone on ``device`` beside their time in the model."""
        whole_s = sum(time_s_by_node.values())
        of_s = {name: sum(time_s_by_node[node] for node in nodes) for name, nodes in self._nodes.items()}
        chosen: list[str] = []
        taken_s = cost_s = 0.0
        for signature in sorted(of_s, key=lambda name: -of_s[name]):
            one_s = of_s[signature] / len(self._nodes[signature])
            costs_s = one_s * (_CUDA_CALLS if device.type == "cuda" else _CPU_CALLS)
            if len(chosen) == _MAX_GAUGES or taken_s >= _SHARE * whole_s or one_s == 0:
                break
            if chosen and cost_s + costs_s > _BUDGET_S:
                continue
            chosen.append(signature)
            taken_s, cost_s = taken_s + of_s[signature], cost_s + costs_s
        alone_s = time_gauges([self._told[signature] for signature in chosen], device)
        return tuple(
            self._gauge(signature, of_s[signature], seconds)
            for signature, seconds in zip(chosen, alone_s, strict=True)
            if seconds
        )

    def _gauge(self, signature: str, in_model_s: float, alone_s: float) -> Gauge:
        nodes = tuple(self._nodes[signature])
        return self._told[signature].model_copy(update={"nodes": nodes, "in_model": in_model_s / len(nodes) / alone_s})


def time_gauges(gauges: Sequence[Gauge], device: torch.device) -> list[float | None]:
    """Seconds of each gauge alone, half a second in all unless one call takes longer; None where that fails."""
    budget_s = _BUDGET_S / max(1, len(gauges))
    return [_alone_s(gauge, device, budget_s, is_first=index == 0) for index, gauge in enumerate(gauges)]


def _alone_s(gauge: Gauge, device: torch.device, budget_s: float, *, is_first: bool) -> float | None:
    with torch.inference_mode():
        try:
            call = _call_of(gauge, device)
            if device.type == "cuda":
                return node_replay_s(call, warm_s=_WARM_S if is_first else 0.0)  # clocks rise before the first
            return _cpu_s(call, budget_s)
        except RuntimeError:  # no memory for it, or it takes no random values (a Cholesky factor's, say)
            return None


def _cpu_s(call: Callable[[], Any], budget_s: float) -> float:
    """Median seconds of the calls that fit the budget after a first one, at least one."""
    begin = time.perf_counter()
    call()
    samples: list[float] = []
    while not samples or time.perf_counter() - begin < budget_s:
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


# --- a call as JSON, and back -----------------------------------------------------------------------------------


def _told(call: functools.partial[Any]) -> Gauge:
    operation = call.func
    if not isinstance(operation, torch._ops.OpOverload) or operation.namespace != "aten":
        raise _UntoldError  # what others register may be missing where it is timed again
    if operation._schema.is_mutable or operation.overloadpacket.__name__ in _DEMANDING:
        raise _UntoldError
    args = tuple(_value_told(value) for value in call.args)
    kwargs = {name: _value_told(value) for name, value in call.keywords.items()}
    if not has_tensor([*args, *kwargs.values()]):
        raise _UntoldError
    return Gauge(nodes=(), operation=str(operation), args=args, kwargs=kwargs)


def _value_told(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return {"tensor": _tensor_told(value)}
    if isinstance(value, list | tuple):
        return [_value_told(each) for each in value]
    if isinstance(value, torch.device):
        return {"device": None}
    for name, kind in _NAMED.items():
        if isinstance(value, kind):
            return {name: str(value).removeprefix("torch.")}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise _UntoldError


def _tensor_told(tensor: torch.Tensor) -> dict[str, Any]:
    if tensor.layout != torch.strided or tensor.is_quantized or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise _UntoldError
    told = {
        "shape": list(tensor.shape),
        "stride": list(tensor.stride()),
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }
    is_integer = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if is_integer and tensor.numel() <= _MOST_VALUES:
        told["values"] = tensor.flatten().tolist()
    return told


def _call_of(gauge: Gauge, device: torch.device) -> Callable[[], Any]:
    _, name, overload = gauge.operation.split(".")
    operation = getattr(getattr(torch.ops.aten, name), overload)
    args = [_value_made(value, device) for value in gauge.args]
    kwargs = {name: _value_made(value, device) for name, value in gauge.kwargs.items()}
    return functools.partial(operation, *args, **kwargs)


def _value_made(told: Any, device: torch.device) -> Any:
    if isinstance(told, list):
        return [_value_made(each, device) for each in told]
    if not isinstance(told, dict):
        return told
    ((kind, value),) = told.items()
    if kind == "tensor":
        return _tensor_made(value, device)
    return device if kind == "device" else getattr(torch, value)


def _tensor_made(told: Mapping[str, Any], device: torch.device) -> torch.Tensor:
    shape, stride, dtype = told["shape"], told["stride"], getattr(torch, told["dtype"])
    if "values" in told:
        made = torch.empty_strided(shape, stride, dtype=dtype, device=device)
        made.copy_(torch.tensor(told["values"], dtype=dtype).reshape(shape))
        return made
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) if 0 not in shape else 0
    return _filled(last + 1, dtype, device).as_strided(shape, stride)


def _filled(count: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Random numbers, a block over and over; True; zeros for integers, which are indexes mostly."""
    if dtype == torch.bool:
        return torch.ones(count, dtype=dtype, device=device)
    if not (dtype.is_floating_point or dtype.is_complex):
        return torch.zeros(count, dtype=dtype, device=device)
    drawn = torch.complex64 if dtype.is_complex else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    block = torch.randn(min(count, _BLOCK), dtype=drawn, device=device, generator=generator).to(dtype)
    return block.repeat(-(-count // len(block)))[:count]
