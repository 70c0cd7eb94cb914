"""Plan and run a module of your own: how fast is it, cut in two?

The module is exported and measured, the planner cuts its graph for this machine's devices (its GPUs, or where it has
none a thread of the CPU each), and the stages run as a pipeline whose outputs are compared with the whole module's.
"""

from __future__ import annotations

import partkit
from net import make_net


def main() -> None:
    """Print the plan, then what its run measured: of samples, of which an item here has 64."""
    module, example = make_net()
    profile = partkit.profile_model(module, example_inputs=example)
    plan = partkit.plan_as_asked(profile, partkit.machine_cluster(2), partkit.PlanRequest(num_stages=2))
    for stage in plan.stages:
        print(f"stage {stage.index}: {len(stage.nodes)} operations, {1e3 * stage.compute_s:.3f} ms")
    print(
        f"predicted {plan.prediction.samples_per_s:.0f} samples/s, {100 * plan.bound.gap:.1f}% above the proved bound"
    )

    result = partkit.run_plan(plan, partkit.RunOptions(seconds=1.0))
    assert result is not None
    print(f"measured {result.samples_per_s:.0f} samples/s; outputs are the module's: {result.check.passed}")


if __name__ == "__main__":
    main()
