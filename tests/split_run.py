"""Run a captured model stage by stage in this process, values passed as an edge would pass them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from partkit.data.profile import Profile, ProfiledDevice
from partkit.models.capture import Capture
from partkit.models.of_job import tensor_reader
from partkit.models.sources.loaded import LoadedModel
from partkit.profilers.assemble import assemble
from partkit.stages.cut import Computed, StageGraph, cut
from partkit.stages.materialise import materialise
from partkit.transport.buffers import SlotBuffer


def profile_of(captured: Capture) -> Profile:
    """The model's profile without any measurement: every node takes a microsecond."""
    times = {node.name: 1e-6 for node in captured.graph.nodes if node.op == "call_function"}
    return assemble(captured, times, device=ProfiledDevice(), method="given")


def stages_cut_at(profile: Profile, position: int) -> dict[str, int] | None:
    """The placed nodes before ``position`` on stage 0, the others on 1; None where that parts a group."""
    placed = [node for node in profile.nodes if not node.free]
    stage_by_node = {node.name: int(index >= position) for index, node in enumerate(placed)}
    stages_by_group: dict[str, set[int]] = {}
    for node in placed:
        if node.group is not None:
            stages_by_group.setdefault(node.group, set()).add(stage_by_node[node.name])
    return stage_by_node if all(len(stages) == 1 for stages in stages_by_group.values()) else None


_reader: tuple[object, Capture, Callable[[str], torch.Tensor]] | None = None


def _shared_reader(loaded: LoadedModel, captured: Capture) -> Callable[[str], torch.Tensor]:
    """One reader for all cuts of a model, which makes each tensor once: a stage that wrote to it would be found out."""
    global _reader
    if _reader is None or _reader[0] is not loaded.weights or _reader[1] is not captured:
        _reader = loaded.weights, captured, functools.cache(tensor_reader(loaded, captured))
    return _reader[2]


def run_stages(
    loaded: LoadedModel,
    captured: Capture,
    stages: tuple[StageGraph, ...],
    sizes: Mapping[str, int] | None = None,
    *,
    around: Callable[[fx.GraphModule], Callable[..., Any]] = lambda module: module,
) -> list[Any]:
    """The model's output leaves through its stages, made for ``sizes`` where those vary.

    ``around`` makes what runs of each stage's module.
    """
    read = _shared_reader(loaded, captured)
    flat = [leaf for leaf in pytree.tree_leaves((loaded.args, loaded.kwargs)) if isinstance(leaf, torch.Tensor)]
    inputs = dict(zip([spec.name for spec in captured.spec.inputs], flat, strict=True))
    crossing: dict[tuple[int, int, str], torch.Tensor] = {}
    leaves: list[Any] = []
    for stage in stages:
        stage = stage.at(sizes or captured.spec.sizes)
        module = around(materialise(stage, captured, read, torch.device("cpu"), sizes=sizes))
        fed = [inputs[name] for name in stage.model_inputs]
        for source, values in stage.receives.items():
            buffer = SlotBuffer(values, torch.device("cpu"))
            for value, slot in zip(values, buffer.tensors, strict=True):
                fed.append(slot.copy_(crossing[source, stage.index, value.name]))
        with torch.inference_mode():
            given = dict(zip(stage.gives, module(*fed), strict=True))
        for target, values in stage.sends.items():
            crossing |= {(stage.index, target, value.name): given[value.name] for value in values}
        if stage.leaves is not None:
            leaves = [given[leaf.name] if isinstance(leaf, Computed) else leaf for leaf in stage.leaves]
    return leaves


def run_split(loaded: LoadedModel, captured: Capture, stage_by_node: Mapping[str, int], count: int) -> list[Any]:
    """The model's output leaves through ``count`` stages."""
    return run_stages(loaded, captured, cut(captured, stage_by_node, count))


def reference(loaded: LoadedModel) -> list[Any]:
    """The unsplit model's output leaves."""
    with torch.inference_mode():
        return pytree.tree_leaves(loaded.materialise()(*loaded.args, **loaded.kwargs))


def same_bits(found: list[Any], expected: list[Any]) -> bool:
    """True where leaves agree in number, kind, shape, dtype and every bit."""
    if len(found) != len(expected):
        return False
    return all(
        torch.equal(a, b) and a.dtype == b.dtype
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        else type(a) is type(b) and a == b
        for a, b in zip(found, expected, strict=True)
    )
