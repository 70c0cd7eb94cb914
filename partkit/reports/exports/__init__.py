"""A plan's cuts in the words of other tools, one tool per file: text that needs neither torch nor the tool.

    plan + its profile -> which module stands in which stage -> the tool's own setting

Where a tool can say less than a plan does, the plan is refused with the command that makes one that it can say.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.reports.exports.setting import Setting


class Target(NamedTuple):
    """A tool that a plan is exported to."""

    render: str
    """``module:function`` of a plan and its profile."""
    gives: str
    """What comes out, for people."""


EXPORTS = {
    "accelerate": Target("partkit.reports.exports.device_map:render", "a device_map for accelerate and transformers"),
    "deepspeed": Target("partkit.reports.exports.layer_counts:deepspeed", "parts of a DeepSpeed PipelineModule"),
    "llama.cpp": Target("partkit.reports.exports.layer_counts:llama_cpp", "-ts of llama.cpp"),
    "torch": Target("partkit.reports.exports.split_spec:render", "split_spec of torch.distributed.pipelining"),
    "transformers": Target("partkit.reports.exports.layer_counts:transformers", "DistributedConfig(pp_size=N)"),
    "vllm": Target("partkit.reports.exports.layer_counts:vllm", "VLLM_PP_LAYER_PARTITION"),
}

STAGE_FILES = ("pt2", "onnx")
"""Forms in which each stage is a file with its weights (``partkit.runs.export_stages``)."""


def export(plan: Plan, profile: Profile, target: str) -> Setting:
    """The plan as the setting of a tool in :data:`EXPORTS`.

    Raises :class:`UnsupportedError` for a plan that the tool's setting cannot say.
    """
    module, _, name = EXPORTS[target].render.partition(":")
    render: Callable[[Plan, Profile], Setting] = getattr(import_module(module), name)
    return render(plan, profile)
