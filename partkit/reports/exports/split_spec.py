"""``split_spec`` of torch.distributed.pipelining: the modules at whose beginning a stage begins."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.errors import UnsupportedError
from partkit.reports.exports.modules import ModuleStages
from partkit.reports.exports.setting import Setting

_TOOL = "torch.distributed.pipelining"


def render(plan: Plan, profile: Profile) -> Setting:
    """For each later stage the module that it begins with. The tool cuts the traced graph there, so that a module may
    lie within a layer."""
    modules = ModuleStages(plan, profile, _TOOL)
    points, notes = [], []
    for stage in range(1, len(plan.stages)):
        point, num_before = _beginning(modules, stage)
        points.append(point)
        if num_before:
            moved = f"{num_before} operations of stage {stage} that stand before {point}"
            notes.append(f"{moved} stay with stage {stage - 1}")
    code = [f'    "{point}": SplitPoint.BEGINNING,' for point in points]
    text = "\n".join(["from torch.distributed.pipelining import SplitPoint", "", "split_spec = {", *code, "}"]) + "\n"
    return Setting(text, dict.fromkeys(points, "BEGINNING"), tuple(notes))


def _beginning(modules: ModuleStages, stage: int) -> tuple[str, int]:
    """The outermost module of which nothing stands in earlier stages and whose first node comes first in ``stage``;
    and how many operations of the stage come before it.

    Raises :class:`UnsupportedError` where the stage begins within a module and holds no other's beginning.
    """
    num_before = 0
    for node in modules.nodes:
        if modules.stage_of(node) != stage:
            continue
        parts = node.module.split(".") if node.module else []
        for count in range(1, len(parts) + 1):
            path = ".".join(parts[:count])
            if min(modules.stages_below(path)) >= stage:
                return path, num_before
        num_before += 1
    raise UnsupportedError(
        f"stage {stage} begins within a module and holds no other's beginning, and {_TOOL} cuts where modules begin",
        hint="plan with --granularity module",
    )
