"""Tensor parallelism by torch's DTensor: ``parallelize_module`` with a plan for architectures that are known.

Query, key, value and the first linear of each feed-forward are cut by columns, the linear after them by rows, so that
each attention and each feed-forward block costs one all-reduce (Megatron-LM, Shoeybi et al. 2019). All ranks run each
item together. On CUDA the whole forward, all-reduces included, is one CUDA graph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.utils import _pytree as pytree

from partkit.errors import UnsupportedError
from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.peers import faults_are_reasons
from partkit.executors.whole.shards import fill_shards
from partkit.machine.clock import settle
from partkit.machine.cuda_graph import NotCapturableError, capture_graph
from partkit.models.sources.loaded import LoadedModel

_WARM_CALLS = 3


@dataclass(frozen=True)
class Architecture:
    """Which modules of a model type are cut, by the ends of their paths, and what a rank's share of heads changes."""

    columns: str
    rows: str
    heads: tuple[str, ...]
    """The config's counts that the ranks must divide."""
    head_attribute: str | None = None
    """The attention modules' own count of heads, where their code reads it."""


_LLAMA = Architecture(
    columns=r"self_attn\.[qkv]_proj|mlp\.(gate|up)_proj",
    rows=r"self_attn\.o_proj|mlp\.down_proj",
    heads=("num_attention_heads", "num_key_value_heads", "intermediate_size"),
)
ARCHITECTURES = {
    "bert": Architecture(
        columns=r"attention\.self\.(query|key|value)|intermediate\.dense",
        rows=r"\d+\.output\.dense|attention\.output\.dense",
        heads=("num_attention_heads", "intermediate_size"),
    ),
    "vit": Architecture(
        columns=r"attention\.[qkv]_proj|mlp\.fc1",
        rows=r"attention\.o_proj|mlp\.fc2",
        heads=("num_attention_heads", "intermediate_size"),
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "t5": Architecture(
        columns=r"\w+Attention\.([qkv]|relative_attention_bias)|DenseReluDense\.wi(_[01])?",
        rows=r"\w+Attention\.o|DenseReluDense\.wo",
        heads=("num_heads", "d_ff"),
        head_attribute="n_heads",
    ),
}
"""Known plans by transformers' ``model_type``."""


class TensorParallelExecutor(WholeModelExecutor):
    """The module with its blocks cut over all ranks."""

    _graph: torch.cuda.CUDAGraph | None = None

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Cut the module's linear layers over the ranks; on CUDA, capture one item."""
        context = self._context
        module = loaded.build()
        styles = styles_for(module, context.world_size)
        with faults_are_reasons("torch.distributed.tensor"), torch.no_grad():
            mesh = init_device_mesh(context.device.type, (context.world_size,))
            parallelize_module(module, mesh, styles)
            fill_shards(module, loaded, context.device)
            module.to(context.device)
            _share_heads(module, context.world_size)
            args, kwargs = self._calls[0]
            module(*args, **kwargs)
            if context.device.type == "cuda":
                self._capture(module)
        return module

    def forward(self, item: int) -> object:
        """One item on all ranks together."""
        if self._graph is None:
            return super().forward(item)
        given = pytree.tree_leaves(self._calls[item % len(self._calls)])
        for held, tensor in zip(self._held, given, strict=True):
            if isinstance(held, torch.Tensor):
                held.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def close(self) -> None:
        """Release the CUDA graph before the process group goes."""
        settle(self._context.device)
        self._graph = None

    def _capture(self, module: torch.nn.Module) -> None:
        leaves, structure = pytree.tree_flatten(self._calls[0])
        self._held: list[Any] = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(self._held, structure)
        stream = torch.cuda.Stream(self._context.device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_CALLS):  # communicators are made at their first use, which a graph cannot hold
                module(*args, **kwargs)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            capture_graph(graph, lambda: self._keep(module(*args, **kwargs)), stream=stream)
        except NotCapturableError as error:
            self.notes.append(f"runs without a CUDA graph: {error}")
            return
        self._graph = graph

    def _keep(self, outputs: object) -> None:
        """Where each replay leaves the outputs."""
        self._outputs = outputs


def styles_for(module: torch.nn.Module, num_ranks: int) -> dict[str, ParallelStyle]:
    """How each cut module is cut, by path. Raises :class:`UnsupportedError` where no plan is known or none fits."""
    config = getattr(module, "config", None)
    kind = getattr(config, "model_type", None)
    if kind not in ARCHITECTURES:
        named = f"transformers' {kind!r}" if kind else type(module).__name__
        raise UnsupportedError(f"no tensor-parallel plan is known for {named}; known: {', '.join(ARCHITECTURES)}")
    known = ARCHITECTURES[kind]
    for name in known.heads:
        count = getattr(config, name)
        if count % num_ranks:
            raise UnsupportedError(f"{name} = {count} cannot be divided among {num_ranks} ranks")
    styles: dict[str, ParallelStyle] = {}
    for path, part in module.named_modules():
        if not isinstance(part, torch.nn.Linear | torch.nn.Embedding):
            continue
        if re.search(rf"(^|\.)({known.columns})$", path):
            styles[path] = ColwiseParallel()
        elif re.search(rf"(^|\.)({known.rows})$", path):
            styles[path] = RowwiseParallel()
    return styles


def _share_heads(module: torch.nn.Module, num_ranks: int) -> None:
    """Set the number of heads of attention modules whose code reads it to this rank's share."""
    attribute = ARCHITECTURES[module.config.model_type].head_attribute  # type: ignore[union-attr, index]
    if attribute is None:
        return
    for part in module.modules():
        if hasattr(part, attribute):
            setattr(part, attribute, getattr(part, attribute) // num_ranks)
