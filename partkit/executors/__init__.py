"""Executors: the ways of running a model, one per file, all with the interface of :class:`Executor`."""

from __future__ import annotations

from importlib import import_module

from partkit.errors import UsageError
from partkit.executors.protocol import Executor, RankContext

EXECUTORS = {
    "single": "partkit.executors.whole.single:SingleExecutor",
    "single-graph": "partkit.executors.pipeline.replicas:ReplicasExecutor",
    "replicas": "partkit.executors.pipeline.replicas:ReplicasExecutor",
    "pipeline": "partkit.executors.pipeline.executor:PipelineExecutor",
    "pipeline-nccl": "partkit.executors.pipeline.executor:NcclPipelineExecutor",
    "split": "partkit.executors.pipeline.split:SplitExecutor",
    "dispatch": "partkit.executors.whole.dispatch:DispatchExecutor",
    "fsdp": "partkit.executors.whole.fsdp:FsdpExecutor",
    "fsdp-replicated": "partkit.executors.whole.fsdp:ReplicatedFsdpExecutor",
    "fsdp1": "partkit.executors.whole.fsdp1:Fsdp1Executor",
    "deepspeed": "partkit.executors.whole.deepspeed:DeepSpeedExecutor",
    "deepspeed-inject": "partkit.executors.whole.deepspeed:InjectedDeepSpeedExecutor",
    "tp": "partkit.executors.whole.tp:TensorParallelExecutor",
    "accelerate": "partkit.executors.whole.accelerate:AccelerateExecutor",
    "torch-pipelining": "partkit.executors.whole.torch_pipelining:TorchPipeliningExecutor",
}
"""Executor classes by name; adding one is a new file and a line here."""

ON_ONE_DEVICE = frozenset({"single", "single-graph"})
"""Executors that use one device however many there are."""

IN_ONE_PROCESS = ON_ONE_DEVICE | {"split", "dispatch", "accelerate"}
"""Executors with one rank; the others have one for each device."""

ON_STAGES = ("pipeline", "pipeline-nccl", "split")
"""Executors that run a plan's stages, each once for an item."""

__all__ = [
    "EXECUTORS",
    "IN_ONE_PROCESS",
    "ON_ONE_DEVICE",
    "ON_STAGES",
    "Executor",
    "RankContext",
    "make_executor",
    "require_executor",
]


def require_executor(name: str, *, allow_code: bool = False) -> str:
    """Where the executor's class is, as ``module:class``.

    ``name`` is one of :data:`EXECUTORS`, or such a path to a class of the user's own, which only ``allow_code``
    lets in. Raises :class:`UsageError` for any other.
    """
    if name in EXECUTORS:
        return EXECUTORS[name]
    if ":" not in name:
        raise UsageError(f"there is no executor {name!r}", hint=f"choose from {', '.join(EXECUTORS)}")
    if not allow_code:
        raise UsageError(f"the executor {name} is Python code outside partkit", hint="allow it with --allow-code")
    return name


def make_executor(context: RankContext) -> Executor:
    """This rank's part of the job's executor. Raises :class:`UsageError` for one that is unknown or not allowed."""
    path = require_executor(context.job.executor, allow_code=context.job.allow_code)
    module, _, attribute = path.partition(":")
    executor: Executor = getattr(import_module(module), attribute)(context)
    return executor
