"""A plan for a model that torch.export cannot capture: whole modules over devices, as ``dispatch`` runs them."""

from __future__ import annotations

from partkit.data.cluster import Cluster
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan, PlannerRun, Stage
from partkit.executors.whole.dispatch import spread_by_bytes
from partkit.models.sources import load_model

_WHOLE = "(whole model)"


def uncaptured_plan(spec: ModelSpec, cluster: Cluster) -> Plan:
    """Modules dealt to the cluster's devices by their bytes, nothing predicted.

    The nodes of its stages are module paths, so only executors that need no graph run it. Raises what
    :func:`load_model` raises.
    """
    loaded = load_model(spec)
    module = loaded.module if loaded.module is not None else loaded.materialise()
    part_by_module = spread_by_bytes(module, len(cluster.devices)) or {_WHOLE: 0}
    parts = sorted(set(part_by_module.values()))
    stages = []
    for index, part in enumerate(parts):
        paths = tuple(path or _WHOLE for path, other in part_by_module.items() if other == part)
        stages.append(Stage(index=index, devices=(part,), modules=paths, nodes=paths))
    return Plan(
        model=loaded.spec,
        executor="dispatch",
        stages=tuple(stages),
        cluster=cluster,
        planner=PlannerRun(name="uncaptured", detail="modules by their bytes, without a graph"),
    )
