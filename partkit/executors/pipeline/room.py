"""Whether a rank's stages fit their devices, told before anything of them is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from partkit.data.job import RunJob
from partkit.executors.info import executor_info
from partkit.machine.memory import require_room
from partkit.models.capture import Capture
from partkit.stages.cut import StageGraph


def require_room_for(job: RunJob, captured: Capture, placed: Sequence[tuple[StageGraph, torch.device]]) -> None:
    """Refuse stages whose tensors their device cannot hold; raises what :func:`require_room` does.

    A tensor that several stages of a device read counts once.
    """
    by_device: dict[torch.device, list[StageGraph]] = {}
    for stage, device in placed:
        by_device.setdefault(device, []).append(stage)
    is_whole = executor_info(job.executor).holds_whole_model
    for device, own in by_device.items():
        read = {str(node.target) for stage in own for node in stage.graph.find_nodes(op="get_attr")}
        needed = sum(captured.tensors[name].num_bytes for name in read & set(captured.tensors))
        what = job.executor if is_whole else f"stage {', '.join(str(stage.index) for stage in own)}"
        require_room(needed, device, what, budget_bytes=job.memory_bytes if is_whole else None)
