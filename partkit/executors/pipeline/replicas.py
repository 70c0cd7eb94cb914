"""The whole captured graph on each device, items dealt in turn: what one does whose model fits on one device.

It is the pipeline of a plan with one stage, which all devices share: one CUDA graph per slot on CUDA. With one
device it is ``single-graph``, the fastest way to run the model on a device without splitting it.
"""

from __future__ import annotations

from dataclasses import replace

from partkit.data.plan import Plan, Stage
from partkit.executors.pipeline.executor import PipelineExecutor
from partkit.executors.protocol import RankContext


class ReplicasExecutor(PipelineExecutor):
    """This rank's copy of the model."""

    def __init__(self, context: RankContext) -> None:
        self._num_planned = len(context.job.plan.stages)
        plan = unsplit(context.job.plan, context.job.devices)
        layout = {"plan": plan, "host_by_place": (), "device_by_place": ()}
        super().__init__(replace(context, job=context.job.model_copy(update=layout)))
        if context.device.type == "cpu":
            self.notes.append("no CUDA graphs on the CPU: the captured graph runs as generated code")

    def stage_s(self) -> dict[int, float]:
        """Seconds of a whole item, where that is the plan's only stage; else its places are not the plan's."""
        return super().stage_s() if self._num_planned == 1 else {}


def unsplit(plan: Plan, devices: tuple[int, ...]) -> Plan:
    """The plan with all nodes in one stage, which ``devices`` share."""
    nodes = tuple(name for stage in plan.stages for name in stage.nodes)
    return plan.model_copy(update={"stages": (Stage(index=0, devices=devices, nodes=nodes),)})
