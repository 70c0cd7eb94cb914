"""Whether a rank puts its loop over many items into one CUDA graph: by what it was told, and by a short trial run.

    --loop-graph     on: wherever it can       auto: on CUDA, where the host takes longer over an item than the device
    --no-loop-graph  off: nowhere

Each rank decides for itself, since its peers see the same messages either way; but all take part in the trial, which
needs the whole pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

from partkit.data.job import RunJob
from partkit.data.units import format_seconds


@dataclass(frozen=True)
class LoopTrial:
    """A short run without the loop, as one rank saw it."""

    num_turns: int
    host_s: float
    """Seconds that the host takes for a turn, its waits left out."""
    device_s: float
    """Seconds that the device computes for a turn."""


def is_tried(job: RunJob) -> bool:
    """True where the ranks of a job try out the loop; the same on all of them."""
    has_one_place_a_rank = not job.host_by_place and job.lanes == 1
    asked = job.loop_graph == "on" or (job.loop_graph == "auto" and job.device == "cuda")
    return asked and has_one_place_a_rank


def refusal(job: RunJob, why_not: str | None) -> str | None:
    """A warning for a user who asked for the loop of a rank that cannot have it, by the rank's own reason."""
    if job.loop_graph != "on" or (why_not is None and is_tried(job)):
        return None
    of_all = f"items take {job.lanes} lanes" if job.lanes > 1 else "one process runs all stages"
    return f"no graph of the whole loop: {why_not or of_all}"


def pays(job: RunJob, trial: LoopTrial) -> bool:
    """True where the loop is to be made after a trial."""
    return trial.num_turns > 0 and (job.loop_graph == "on" or trial.host_s > trial.device_s)


def decision(num_turns: int, trial: LoopTrial) -> str:
    """The note about a loop of ``num_turns`` that was made.

    >>> decision(16, LoopTrial(8, host_s=3e-4, device_s=1e-4))
    '16 items per launch: the host takes 300 µs to launch one and the device 100 µs to compute it'
    """
    return (
        f"{num_turns} items per launch: the host takes {format_seconds(trial.host_s)} to launch one and the device "
        f"{format_seconds(trial.device_s)} to compute it"
    )
