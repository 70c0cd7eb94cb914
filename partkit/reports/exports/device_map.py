"""accelerate's ``device_map``: device by module, which ``from_pretrained`` and ``dispatch_model`` take."""

from __future__ import annotations

import json

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.reports.exports.modules import ModuleStages
from partkit.reports.exports.setting import Setting


def render(plan: Plan, profile: Profile) -> Setting:
    """The outermost modules that stand in one stage, each with its device; a layer is never cut, for what its parts
    hand each other past a part that moved would be on two devices."""
    modules = ModuleStages(plan, profile, "accelerate")
    modules.require_whole_modules()
    device_by_module = {path: plan.stages[stage].devices[0] for path, stage in modules.outermost().items()}
    apart = _apart(plan, profile, device_by_module)
    placed = device_by_module | apart
    notes = ["accelerate runs one device at a time: layers on several hold a larger model, and run no faster"]
    if apart:
        notes.append(f"{', '.join(apart)}: computes nothing by itself, or has parts in several stages")
    return Setting(json.dumps(placed, indent=2) + "\n", placed, tuple(notes))


def _apart(plan: Plan, profile: Profile, placed: dict[str, int]) -> dict[str, int]:
    """Device of each tensor that lies under no placed module: that of who reads it, or the first. It is named by its
    module, unless parts of that are placed."""
    stage_by_node = plan.stage_by_node
    reader = {name: stage_by_node.get(node.name, 0) for node in reversed(profile.nodes) for name in node.parameters}
    apart: dict[str, int] = {}
    for name in profile.parameters:
        if _is_under(name, placed):
            continue
        owner = name.rpartition(".")[0]
        has_placed_parts = not owner or any(path.startswith(f"{owner}.") for path in placed)
        apart[name if has_placed_parts else owner] = plan.stages[reader.get(name, 0)].devices[0]
    return apart


def _is_under(path: str, placed: dict[str, int]) -> bool:
    parts = path.split(".")
    return "" in placed or any(".".join(parts[:count]) in placed for count in range(1, len(parts) + 1))
