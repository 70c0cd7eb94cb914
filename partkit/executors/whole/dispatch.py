"""The naive split: weights spread over devices by bytes, operands moved at every operation.

Kept as published (the reference experiment's third way): parameters and buffers in order, a device full when
its share of the bytes is passed, and a TorchDispatchMode that moves each operand on another device to the
highest-numbered device among them. On the CPU, devices are labels on tensors and a move is a real copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from partkit.executors.whole.base import WholeModelExecutor
from partkit.models.sources.loaded import LoadedModel


class DispatchExecutor(WholeModelExecutor):
    """The whole module in one process, its weights on several devices."""

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Spread the module's tensors and make the mode that moves operands."""
        module = loaded.build()
        part_by_module = spread_by_bytes(module, len(self._job.device_by_place))
        if self._context.device.type == "cpu":
            movers: Movers = LogicalMovers()
        else:
            movers = DeviceMovers([torch.device("cuda", index) for index in self._job.device_by_place])
            self._devices = movers.devices
        loaded.fill(
            module, lambda name, _parameter, tensor: movers.take(tensor, part_by_module[name.rpartition(".")[0]])
        )
        for path, part in part_by_module.items():
            movers.place(module.get_submodule(path), part)
        self._mode = MoveOperands(movers)
        return module

    def forward(self, item: int) -> object:
        """One call of the module under the mode."""
        with self._mode:
            return super().forward(item)


def spread_by_bytes(module: torch.nn.Module, num_parts: int) -> dict[str, int]:
    """Part by module path: walk tensors in order, open the next part when a share of all bytes is passed.

    >>> spread_by_bytes(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)), 2)
    {'0': 0, '1': 1}
    """
    bytes_by_module: dict[str, int] = {}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        owner = name.rpartition(".")[0]
        bytes_by_module[owner] = bytes_by_module.get(owner, 0) + tensor.numel() * tensor.element_size()
    share = sum(bytes_by_module.values()) / num_parts
    parts: dict[str, int] = {}
    passed = 0
    for path, size in bytes_by_module.items():
        parts[path] = min(int(passed / share), num_parts - 1) if share else 0
        passed += size
    return parts


class Movers:
    """Which part a tensor is on, and how it moves to another."""

    def place(self, module: torch.nn.Module, part: int) -> None:
        """Put a module's own parameters and buffers on a part."""
        raise NotImplementedError

    def take(self, tensor: torch.Tensor, part: int) -> torch.Tensor:  # noqa: ARG002 - for those that have devices
        """A tensor from the host, where a part's tensors are."""
        return tensor

    def part_of(self, tensor: torch.Tensor) -> int:
        """The part that a tensor is on."""
        raise NotImplementedError

    def move(self, tensor: torch.Tensor, part: int) -> torch.Tensor:
        """The tensor, on that part."""
        raise NotImplementedError

    def note(self, tensor: torch.Tensor, part: int) -> None:
        """An operation on ``part`` gave this tensor."""


class DeviceMovers(Movers):
    """Parts on CUDA devices, of which several parts may share one; devices are numbered in the order of the parts."""

    def __init__(self, device_by_part: Sequence[torch.device]) -> None:
        self._device_by_part = device_by_part
        self.devices = list(dict.fromkeys(device_by_part))
        """Each once."""

    def place(self, module: torch.nn.Module, part: int) -> None:
        """Move parameters and buffers by name, so that a tie's other side stays where it is."""
        device = self._device_by_part[part]
        for name, parameter in list(module.named_parameters(recurse=False)):
            module._parameters[name] = torch.nn.Parameter(parameter.data.to(device), requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = buffer.to(device)

    def take(self, tensor: torch.Tensor, part: int) -> torch.Tensor:
        """The tensor on the part's device."""
        return tensor.to(self._device_by_part[part])

    def part_of(self, tensor: torch.Tensor) -> int:
        """The device's number; tensors elsewhere, as on the CPU, count as on the first."""
        return self.devices.index(tensor.device) if tensor.device in self.devices else 0

    def move(self, tensor: torch.Tensor, part: int) -> torch.Tensor:
        """A copy on that device; a zero-dimensional CPU tensor goes along anywhere and stays."""
        target = self.devices[part]
        return (
            tensor
            if tensor.device == target or (tensor.device.type == "cpu" and tensor.dim() == 0)
            else tensor.to(target)
        )


class LogicalMovers(Movers):
    """Parts are labels on CPU tensors."""

    def __init__(self) -> None:
        self._part_by_tensor = WeakIdKeyDictionary()

    def place(self, module: torch.nn.Module, part: int) -> None:
        """Label the module's own tensors."""
        for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            self._part_by_tensor[tensor] = part

    def part_of(self, tensor: torch.Tensor) -> int:
        """The label; unlabelled tensors count as on the first part."""
        return int(self._part_by_tensor.get(tensor, 0))

    def move(self, tensor: torch.Tensor, part: int) -> torch.Tensor:
        """A labelled copy where the label differs."""
        if self.part_of(tensor) == part:
            return tensor
        moved = tensor.clone()
        self._part_by_tensor[moved] = part
        return moved

    def note(self, tensor: torch.Tensor, part: int) -> None:
        """Label a result."""
        self._part_by_tensor[tensor] = part


class MoveOperands(TorchDispatchMode):
    """Before each operation, moves operands to the highest-numbered part among them; lists of operands too."""

    def __init__(self, movers: Movers) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._movers = movers

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Move, call, note where the results are."""
        leaves, structure = pytree.tree_flatten((tuple(args), dict(kwargs or {})))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        part = max((self._movers.part_of(tensor) for tensor in tensors), default=0)
        moved = [self._movers.move(leaf, part) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        new_args, new_kwargs = pytree.tree_unflatten(moved, structure)
        results = func(*new_args, **new_kwargs)
        for leaf in pytree.tree_leaves(results):
            if isinstance(leaf, torch.Tensor):
                self._movers.note(leaf, part)
        return results
