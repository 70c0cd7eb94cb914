"""Every executor in one table: where its class is, and what must be known of it before it is made.

Adding an executor is a new file and a line here. What only the made executor knows (whether it is data parallel, how
many items it takes at once) is on the class, see :class:`partkit.executors.protocol.Executor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.executors.protocol import Executor, RankContext

_PIPELINE = "partkit.executors.pipeline"
_WHOLE = "partkit.executors.whole"


@dataclass(frozen=True)
class ExecutorInfo:
    """What is known of an executor by its name; the defaults are those of a class of the user's own."""

    path: str
    """``module:class``."""
    package: str | None = None
    """What must be installed beside torch."""
    on_one_device: bool = False
    """True where it uses one device however many the plan has."""
    in_one_rank: bool = False
    """True where one process computes on all its devices; else each device has a rank."""
    needs_capture: bool = True
    """True where it runs partkit's captured graph; a model without one still runs under the others."""
    holds_whole_model: bool = False
    """True where each of its devices must hold all of the model's weights."""
    runs_stages: bool = False
    """True where it runs the plan's own stages, each once for an item; only there can items arrive at a rate."""
    has_lanes: bool = False
    """True where several items can compute side by side on a GPU, each lane with its own stream and CUDA graphs."""


EXECUTORS = {
    "single": ExecutorInfo(
        f"{_WHOLE}.single:SingleExecutor",
        on_one_device=True,
        in_one_rank=True,
        needs_capture=False,
        holds_whole_model=True,
    ),
    "single-graph": ExecutorInfo(
        f"{_PIPELINE}.replicas:ReplicasExecutor",
        on_one_device=True,
        in_one_rank=True,
        holds_whole_model=True,
        has_lanes=True,
    ),
    "streamed": ExecutorInfo(f"{_WHOLE}.streamed:StreamedExecutor", on_one_device=True, in_one_rank=True),
    "replicas": ExecutorInfo(f"{_PIPELINE}.replicas:ReplicasExecutor", holds_whole_model=True, has_lanes=True),
    "pipeline": ExecutorInfo(f"{_PIPELINE}.executor:PipelineExecutor", runs_stages=True, has_lanes=True),
    "pipeline-nccl": ExecutorInfo(f"{_PIPELINE}.executor:NcclPipelineExecutor", runs_stages=True, has_lanes=True),
    "split": ExecutorInfo(f"{_PIPELINE}.split:SplitExecutor", in_one_rank=True, runs_stages=True, has_lanes=True),
    "dispatch": ExecutorInfo(f"{_WHOLE}.dispatch:DispatchExecutor", in_one_rank=True, needs_capture=False),
    "fsdp": ExecutorInfo(f"{_WHOLE}.fsdp:FsdpExecutor", needs_capture=False),
    "fsdp-replicated": ExecutorInfo(
        f"{_WHOLE}.fsdp:ReplicatedFsdpExecutor", needs_capture=False, holds_whole_model=True
    ),
    "fsdp1": ExecutorInfo(f"{_WHOLE}.fsdp1:Fsdp1Executor", needs_capture=False),
    "deepspeed": ExecutorInfo(f"{_WHOLE}.deepspeed:DeepSpeedExecutor", package="deepspeed", needs_capture=False),
    "deepspeed-inject": ExecutorInfo(
        f"{_WHOLE}.deepspeed:InjectedDeepSpeedExecutor", package="deepspeed", needs_capture=False
    ),
    "tp": ExecutorInfo(f"{_WHOLE}.tp:TensorParallelExecutor", needs_capture=False),
    "accelerate": ExecutorInfo(
        f"{_WHOLE}.accelerate:AccelerateExecutor", package="accelerate", in_one_rank=True, needs_capture=False
    ),
    # it exports the module by itself, and says in its row where that fails
    "torch-pipelining": ExecutorInfo(f"{_WHOLE}.torch_pipelining:TorchPipeliningExecutor", needs_capture=False),
    "transformers-pp": ExecutorInfo(
        f"{_WHOLE}.transformers_pipeline:TransformersPipelineExecutor", needs_capture=False
    ),
}

WRITES = "generate"
"""How a plan that writes text is run."""
_PEERS = "partkit.executors.generation.peers"
WRITERS = {
    WRITES: ExecutorInfo("partkit.executors.generation.executor:GenerationExecutor", runs_stages=True),
    "generate-single": ExecutorInfo(
        f"{_PEERS}:SingleWriter", on_one_device=True, in_one_rank=True, needs_capture=False, holds_whole_model=True
    ),
    "generate-static": ExecutorInfo(
        f"{_PEERS}:StaticWriter", on_one_device=True, in_one_rank=True, needs_capture=False, holds_whole_model=True
    ),
    "generate-accelerate": ExecutorInfo(
        f"{_PEERS}:AccelerateWriter", package="accelerate", in_one_rank=True, needs_capture=False
    ),
}
"""Ways to write text with a plan's model; none runs whole items, and so they are in a table of their own."""


def executor_info(name: str) -> ExecutorInfo:
    """What is known of an executor; ``name`` is one of :data:`EXECUTORS` or ``module:class`` of the user's own.

    Raises :class:`UsageError` for any other.
    """
    if name in EXECUTORS:
        return EXECUTORS[name]
    if name in WRITERS:
        return WRITERS[name]
    if ":" not in name:
        raise UsageError(f"there is no executor {name!r}", hint=f"choose from {', '.join(EXECUTORS)}")
    return ExecutorInfo(name)


def require_executor(name: str, *, allow_code: bool = False) -> ExecutorInfo:
    """What is known of an executor that may be run: Python code of the user's own only with ``allow_code``.

    Raises :class:`UsageError` for one that is unknown or not allowed.
    """
    info = executor_info(name)
    if name not in EXECUTORS and name not in WRITERS and not allow_code:
        raise UsageError(f"the executor {name} is Python code outside partkit", hint="allow it with --allow-code")
    return info


def class_of(info: ExecutorInfo) -> type[Executor]:
    """The executor's class, imported now: one of the user's own from the working folder too."""
    if info not in (*EXECUTORS.values(), *WRITERS.values()):
        from partkit.models.own_code import look_in_working_folder  # the table itself is read without torch

        look_in_working_folder()
    module, _, attribute = info.path.partition(":")
    executor: type[Executor] = getattr(import_module(module), attribute)
    return executor


def make_executor(context: RankContext) -> Executor:
    """This rank's part of the job's executor. Raises :class:`UsageError` for one that is unknown or not allowed."""
    return class_of(require_executor(context.job.executor, allow_code=context.job.allow_code))(context)
