"""The device split: a plan's stages on their devices in one process, several items in flight.

On CUDA each stage has a CUDA graph per slot and values cross by peer copies on streams of their own; on the CPU each
stage has a thread. Replaying graphs of several devices in one process has an open fault upstream
(pytorch#153025): outputs are compared with eager stages first, and graphs are given up where they differ.
"""

from __future__ import annotations

import torch

from partkit.executors.pipeline.executor import PipelineExecutor
from partkit.stages.cut import Leaves


class SplitExecutor(PipelineExecutor):
    """All places of a plan in one rank."""

    def load(self) -> None:
        """Load every stage; on CUDA see that graphs give what eager stages give."""
        super().load()
        if self._job.device == "cpu":
            return
        items = range(2 * self._job.num_slots)
        graphed = self.run(items, keep=items, one_at_a_time=False).outputs
        self._use_graphs(on=False)
        eager = self.run(items, keep=items, one_at_a_time=False).outputs
        if all(_agree(graphed[item], eager[item]) for item in items):
            self._use_graphs(on=True)
        else:
            self.warnings.append("CUDA graphs gave other outputs than eager stages (pytorch#153025): running eagerly")

    def _use_graphs(self, *, on: bool) -> None:
        for runner in self._runners:
            runner.slots.use_graphs(on=on)


def _agree(one: Leaves, other: Leaves) -> bool:
    """Equal up to what another choice of kernels may change."""
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.allclose(a, b, rtol=1e-2, atol=1e-2))
        for a, b in zip(one, other, strict=True)
    )
