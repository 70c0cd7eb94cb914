"""torch.distributed.pipelining through its public API: layers cut evenly, microbatches in a GPipe schedule.

A microbatch is one of our items; each call of the schedule takes a group of items through all stages, and the pipeline
fills and drains for every group, which is how this library works.
"""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from partkit.errors import UnsupportedError
from partkit.executors.protocol import RankContext, Trace, flat_outputs
from partkit.executors.whole.layers import layers_of
from partkit.executors.whole.peers import faults_are_reasons
from partkit.machine.clock import settle
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs, load_job_model
from partkit.models.sources.loaded import LoadedModel

_GROUP = 8
"""Microbatches in a call of the schedule."""


class TorchPipeliningExecutor:
    """This rank's stage of the library's own pipeline."""

    is_data_parallel = False
    items_at_once = 1

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job
        self.warnings = [f"groups of {_GROUP} microbatches, the pipeline filled and drained for each"]
        self.notes: list[str] = []

    def load(self) -> None:
        """Cut the model and run one group of items. Raises :class:`UnsupportedError` where the library cannot."""
        loaded = load_job_model(self._job)
        if loaded.module is None:
            raise UnsupportedError("torch.distributed.pipelining cuts modules, and this model is an exported program")
        from torch.distributed.pipelining import ScheduleGPipe, SplitPoint, pipeline

        module = loaded.materialise("cpu")
        split_spec = dict.fromkeys(even_layers(module, self._context.world_size), SplitPoint.BEGINNING)
        with faults_are_reasons("torch.distributed.pipelining"):
            pipe = pipeline(module, loaded.args, loaded.kwargs, split_spec=split_spec)
            send_contiguous(pipe.split_gm)
            stage = pipe.build_stage(self._context.rank, self._context.device)
            self._schedule = ScheduleGPipe(stage, n_microbatches=_GROUP)
            self._batches = [self._group(loaded, first) for first in range(self._job.num_inputs)]
            with torch.no_grad():
                self._step(0)

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Run items group by group; see :class:`Executor`. One at a time, each item fills a group of its own."""
        trace, device = Trace(), self._context.device
        settle(device)
        self._context.barrier()
        trace.begin = time.perf_counter()
        width = 1 if one_at_a_time else _GROUP
        with torch.no_grad():
            for position in range(0, len(items), width):
                group = items[position : position + width]
                kept = any(item in keep for item in group)
                begin = time.perf_counter()
                outputs = self._step(group[0])
                if device.type == "cpu" or kept or one_at_a_time:
                    settle(device)
                now = time.perf_counter()
                trace.busy_s += now - begin
                if self._context.rank == 0:
                    trace.entered.update(dict.fromkeys(group, begin))
                if self._is_last:
                    trace.finished.update(dict.fromkeys(group, now))
                    if kept:
                        trace.outputs.update(self._split(outputs, group))
        settle(device)
        self._context.barrier()
        trace.end = time.perf_counter()
        return trace

    def stage_s(self) -> dict[int, float]:
        """Nothing: the library offers no way to run a stage alone."""
        return {}

    def close(self) -> None:
        """Nothing is held that the process group needs."""

    @property
    def _is_last(self) -> bool:
        return self._context.rank == self._context.world_size - 1

    def _group(self, loaded: LoadedModel, first: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a group of items from ``first`` on, joined along the batch."""
        num_inputs, spec = self._job.num_inputs, loaded.spec.resized(self._job.sizes)
        columns = zip(*(item_inputs(spec, first + turn, num_inputs, loaded) for turn in range(_GROUP)), strict=True)
        joined = [torch.cat(column).to(self._context.device) for column in columns]
        return split_arguments(loaded, dict(zip([spec.name for spec in loaded.spec.inputs], joined, strict=True)))

    def _step(self, first: int) -> Any:
        """Take a group of items through all stages; its outputs on the last rank."""
        if self._context.rank > 0:
            return self._schedule.step()
        args, kwargs = self._batches[first % len(self._batches)]
        return self._schedule.step(*args, **kwargs)

    def _split(self, outputs: Any, group: Sequence[int]) -> dict[int, Any]:
        """A group's joined outputs by item."""
        batch = self._job.fed.batch
        leaves = pytree.tree_leaves(outputs)
        return {
            item: flat_outputs(
                [leaf[turn * batch : (turn + 1) * batch] if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            )
            for turn, item in enumerate(group)
        }


def send_contiguous(split: fx.GraphModule) -> None:
    """Have a split module's stages give contiguous values, and expect them: the library sends no others.

    A mask that was expanded, as BERT's and ViT's, is not contiguous, and stages allocate what they receive by the
    strides that the values had when traced.
    """
    for stage in split.children():
        assert isinstance(stage, fx.GraphModule)
        result = stage.graph.output_node()
        with stage.graph.inserting_before(result):
            result.args = fx.map_arg(result.args, _contiguous)
        for taken in stage.graph.find_nodes(op="placeholder"):
            if isinstance(value := taken.meta.get("val"), torch.Tensor):
                taken.meta["val"] = value.contiguous()
        stage.recompile()


def _contiguous(value: fx.Node) -> fx.Node:
    made = value.graph.call_method("contiguous", (value,))
    if isinstance(traced := value.meta.get("val"), torch.Tensor):
        made.meta["val"] = traced.contiguous()
    return made


def even_layers(module: torch.nn.Module, num_stages: int) -> list[str]:
    """Paths of the layers that begin the second and later stages; stages differ by at most one layer.

    Raises :class:`UnsupportedError` where there are fewer layers than stages.

    >>> even_layers(torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(4))), 2)
    ['2']
    """
    paths = list(layers_of(module))
    if len(paths) < num_stages:
        raise UnsupportedError(f"the model has {len(paths)} repeated layers, and {num_stages} stages need one each")
    return [paths[stage * len(paths) // num_stages] for stage in range(1, num_stages)]
