"""What a group of ranks is started for: to run a plan, to profile a model, or to measure links."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter

from partkit.data.document import Record
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan

DeviceType = Literal["cpu", "cuda"]
NUM_INPUTS = 4
"""Distinct items that a run cycles through where nothing else is said."""
LoopGraph = Literal["auto", "on", "off"]
"""auto: where the host takes longer over an item than the device."""


class GroupSetup(Record):
    """What every group of ranks is started with, whatever it is for."""

    device: DeviceType = "cpu"
    devices: tuple[int, ...] = (0,)
    """Device index of each rank."""
    threads: int = Field(default=1, ge=1)
    """Intra-op threads of each rank on the CPU."""
    threads_by_rank: tuple[int, ...] = ()
    """The same where ranks differ; empty: all have ``threads``."""
    timeout_s: float = Field(default=600.0, gt=0)
    memory_bytes: int | None = Field(default=None, gt=0)
    """Most weights and values that a rank may have on its device at once where it can choose; None: what is free."""

    @property
    def num_ranks(self) -> int:
        """Processes in the group."""
        return len(self.devices)

    @property
    def total_threads(self) -> int:
        """Intra-op threads of all ranks."""
        return sum(self.threads_by_rank) or self.num_ranks * self.threads

    def threads_of(self, rank: int) -> int:
        """Intra-op threads of a rank on the CPU."""
        return self.threads_by_rank[rank] if self.threads_by_rank else self.threads

    @property
    def shares_gpus(self) -> bool:
        """True where two ranks have the same GPU."""
        return self.device == "cuda" and len(set(self.devices)) < len(self.devices)

    @property
    def label(self) -> str:
        """What the ranks do, for messages."""
        raise NotImplementedError

    def devices_of(self, rank: int) -> tuple[int, ...]:
        """Device indexes that a rank computes on."""
        return (self.devices[rank],)


class LinksJob(GroupSetup):
    """Measure the links between devices, a rank on each."""

    kind: Literal["links"] = "links"

    @property
    def label(self) -> str:
        """See :class:`GroupSetup`."""
        return "links"


class ProfileJob(GroupSetup):
    """Capture a model and measure its nodes, in one rank."""

    kind: Literal["profile"] = "profile"
    model: ModelSpec
    allow_code: bool = False

    @property
    def label(self) -> str:
        """See :class:`GroupSetup`."""
        return "profile"


class RunJob(GroupSetup):
    """Run a plan's model under an executor."""

    kind: Literal["run"] = "run"
    executor: str
    plan: Plan
    sizes: dict[str, int] = Field(default_factory=dict)
    """Batch and sequence of this run's items, where they may vary and are not the largest."""
    host_by_place: tuple[int, ...] = ()
    """Rank that hosts each place (stage by stage, replica by replica); empty: each has a rank of its own."""
    device_by_place: tuple[int, ...] = ()
    """Device index of each place; empty: its rank's."""
    num_slots: int = Field(default=2, ge=1)
    """Items that an edge can hold at once; a multiple of ``lanes``."""
    lanes: int = Field(default=1, ge=1)
    """Items that a place computes side by side, on CUDA."""
    num_inputs: int = Field(default=NUM_INPUTS, ge=1)
    """Distinct synthetic items that a run cycles through."""
    num_streams: int = Field(default=1, ge=1)
    """CUDA streams that executors of whole items deal their items to, where they can."""
    loop_graph: LoopGraph = "auto"
    """Whether a pipeline's ranks put their loop over many items into one CUDA graph."""
    allow_code: bool = False

    @property
    def model(self) -> ModelSpec:
        """The plan's model."""
        return self.plan.model

    @property
    def fed(self) -> ModelSpec:
        """The model as this run feeds it."""
        return self.model.resized(self.sizes)

    @property
    def label(self) -> str:
        """See :class:`GroupSetup`."""
        return self.executor

    def devices_of(self, rank: int) -> tuple[int, ...]:
        """See :class:`GroupSetup`; several where the rank hosts several places."""
        if not self.device_by_place:
            return super().devices_of(rank)
        hosts = self.host_by_place
        return tuple(sorted({index for host, index in zip(hosts, self.device_by_place, strict=True) if host == rank}))


ModelJob = RunJob | ProfileJob
"""Jobs whose ranks load a model."""
Job = RunJob | ProfileJob | LinksJob
JobT = TypeVar("JobT", bound=GroupSetup)

_JOBS: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])


def read_job(text: str) -> Job:
    """The job that a parent wrote as JSON."""
    return _JOBS.validate_json(text)
