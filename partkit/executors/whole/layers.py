"""A model's repeated layers: the units that FSDP shards and pipelining libraries cut between."""

from __future__ import annotations

import torch


def layers_of(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The outermost repeated layers by path: children of ModuleLists (or Sequentials of several), in order.

    >>> list(layers_of(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))))
    ['0', '2']
    """
    found: dict[str, torch.nn.Module] = {}

    def walk(part: torch.nn.Module, path: str) -> None:
        children = {f"{path}{name}": child for name, child in part.named_children()}
        if isinstance(part, torch.nn.ModuleList | torch.nn.Sequential) and len(children) > 1:
            found.update({name: layer for name, layer in children.items() if any(True for _ in layer.parameters())})
            return
        for name, child in children.items():
            walk(child, f"{name}.")

    walk(module, "")
    return found
