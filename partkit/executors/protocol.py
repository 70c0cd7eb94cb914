"""The interface of executors, as each of their ranks calls it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

from partkit.data.job import RunJob
from partkit.data.orders import OpenStream
from partkit.data.timeline import Event
from partkit.stages.cut import Leaves


def flat_outputs(outputs: object) -> Leaves:
    """A model's outputs as flat leaves on the CPU."""
    return [
        leaf.detach().to("cpu", copy=True) if isinstance(leaf, torch.Tensor) else None
        for leaf in pytree.tree_leaves(outputs)
    ]


@dataclass(frozen=True)
class RankContext:
    """A rank's number, device and job, and the process group of all ranks."""

    job: RunJob
    rank: int
    world_size: int
    device: torch.device
    control: dist.ProcessGroup
    """All ranks over gloo, whatever the devices: barriers, and messages between hosts."""

    @property
    def shares_gpus(self) -> bool:
        """True where two ranks have the same GPU, so that what each measures alone must be measured in turn."""
        return self.job.shares_gpus

    def barrier(self) -> None:
        """Wait for all ranks."""
        dist.barrier(group=self.control)


@dataclass
class Trace:
    """One rank's record of a run. Times are ``time.perf_counter()``, one clock for all ranks of a host."""

    begin: float = 0.0
    end: float = 0.0
    busy_s: float = 0.0
    """Seconds within [begin, end] in which this rank computed."""
    entered: dict[int, float] = field(default_factory=dict)
    """When each item went in, on ranks that feed the model."""
    finished: dict[int, float] = field(default_factory=dict)
    """When each item's output was complete, on ranks that return outputs."""
    outputs: dict[int, Leaves] = field(default_factory=dict)
    """Outputs by item, where they were asked for."""
    events: list[Event] = field(default_factory=list)
    """Of a recorded run: when each place waited and computed, since ``begin``."""
    names: tuple[str, ...] = ()
    """Of an item's outputs, by their place in what the model returns; empty where only the leaves are known."""


class StreamingExecutor(Protocol):
    """An executor that also takes a program's own items; see :mod:`partkit.runs.open_pipeline`."""

    def open_stream(self, order: OpenStream) -> None:
        """Open the slots and counts in the order's folder, which goes after this."""

    def stream(self) -> None:
        """Run the items that the program announces, until it announces the end."""


@runtime_checkable
class TriesLoop(Protocol):
    """An executor that may put its loop over many items into one CUDA graph."""

    def choose_loop(self) -> None:
        """Decide by a short trial, once every rank has loaded; all ranks call it."""


@runtime_checkable
class TellsTurns(Protocol):
    """An executor that takes items through stages in turns."""

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken in the run; another thread may ask at any time."""


class ScheduledExecutor(Protocol):
    """An executor whose items can arrive at random times."""

    def run_at_rate(self, items: Sequence[int], *, rate_per_s: float, seed: int) -> Trace:
        """Run items that arrive as a Poisson process, ``rate_per_s`` items in the mean; entry is the arrival."""


class FillingExecutor(Protocol):
    """An executor that can tell what lanes and batches give."""

    def launch_s(self, batch: int, lanes: int) -> float:
        """Seconds from one batch's end to the next one's, with so many samples a batch and so many lanes full."""


class RecordingExecutor(Protocol):
    """An executor that can tell when each of its places waited and computed."""

    def run_recorded(self, items: Sequence[int]) -> Trace:
        """Run items one after the other, as :meth:`Executor.run`, and leave events."""


class Executor(Protocol):
    """One way of running a model. Every rank makes the same calls in the same order."""

    is_data_parallel: bool
    """True where each rank runs items of its own, so that rates add up over ranks."""
    items_at_once: int
    """Items that one launch of the loaded executor takes; a check of outputs must fill a launch."""
    warnings: list[str]
    """What the reader of a result must know to trust it, found while loading."""
    notes: list[str]
    """What the executor decided by itself while loading; no reason to doubt a result."""

    def __init__(self, context: RankContext) -> None: ...

    def load(self) -> None:
        """Build this rank's part and its weights; nothing is timed yet."""

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Run items (numbers of synthetic inputs) and keep outputs of ``keep``; devices are idle before and after."""

    def stage_s(self) -> dict[int, float]:
        """Seconds of this rank's own computation for one item, measured now, by place (0 for a whole model)."""

    def close(self) -> None:
        """Release what must be released before the process group is destroyed."""
