"""What a user asks of the planner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from partkit.data.document import Record
from partkit.planners.costs.cost import DEFAULT_NUM_SLOTS

Objective = Literal["throughput", "latency", "memory"]
Granularity = Literal["op", "layer", "module"]


class PlanRequest(Record):
    """How to plan: everything but the graph and the cluster."""

    num_stages: int | None = None
    """Stages at most; None: as many as are best for the objective, up to the number of devices."""
    exact_num_stages: bool = False
    """Use exactly ``num_stages``, even where fewer are better."""
    planner: str = "auto"
    objective: Objective = "throughput"
    memory_caps_bytes: Mapping[int, int] = Field(default_factory=dict)
    """Cap by device index; devices not named keep their own ``memory_bytes``."""
    pins: Mapping[str, int] = Field(default_factory=dict)
    """Stage by regular expression on the start of module paths (or on a whole node name)."""
    keep_together: tuple[str, ...] = ()
    """Regular expressions on the start of module paths: nodes that match one go to the same stage."""
    granularity: Granularity = "op"
    """Where cuts may be: anywhere, between modules' calls, or between numbered layers."""
    max_replicas: int | None = Field(default=1, ge=1)
    """Devices that one stage may run on, taking items in turn; None: any number."""
    contiguous: bool = True
    """False: also search plans whose stages send values back and forth, which no executor runs."""
    num_slots: int = Field(default=DEFAULT_NUM_SLOTS, ge=1)
    """In-flight slots of each received and each sent value, for each lane."""
    lanes: int = Field(default=1, ge=1)
    """Items that each stage computes side by side."""
    microbatch: int = Field(default=1, ge=1)
    """Items of a program that are put together; the profile is of them all, its batch varying up to that."""
    max_delay_s: float = Field(default=0.0, ge=0)
    """Longest that an item waits for others of its microbatch."""
    max_ideals: int = Field(default=20_000, ge=1)
    """Downsets of the graph that the exact search may enumerate."""
    time_limit_s: float | None = Field(default=None, gt=0)
