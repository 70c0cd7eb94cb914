"""Plan, run, scale the node times to the measured stage times, plan again: until no other cut promises more."""

from __future__ import annotations

from dataclasses import dataclass

from partkit.data.cache import keep_profile
from partkit.data.cluster import Cluster
from partkit.data.plan import MeasuredRound, MovedNodes, Plan
from partkit.data.profile import Profile
from partkit.data.progress import Progress
from partkit.data.result import RunResult
from partkit.errors import UsageError
from partkit.machine.devices import resolve_device
from partkit.planners import PlanRequest, plan_as_asked, repredict, rescale
from partkit.planners.check import objective_of, under_bound
from partkit.ranks.run_options import RunOptions
from partkit.runs.run import run_plan

MAX_ROUNDS = 3
STABLE = 0.01
"""Share of the period that another cut must promise to save before the plan is changed."""


@dataclass(frozen=True)
class Tuned:
    """A plan made from node times that agree with whole stages, and those times."""

    plan: Plan
    profile: Profile
    is_stable: bool
    """False: after the last round another cut still promised more."""


def plan_by_measuring(
    profile: Profile,
    cluster: Cluster,
    request: PlanRequest,
    options: RunOptions,
    *,
    progress: Progress | None = None,
) -> Tuned:
    """The best plan by node times corrected in up to :data:`MAX_ROUNDS` rounds.

    A round runs the plan, scales the times of each stage's nodes so that they sum to what the stage took, and plans
    again. It ends when no plan promises :data:`STABLE` more than the one that was run; else with the plan that ran
    fastest. ``plan.rounds`` says what was measured and what moved. The corrected profile is kept on this machine.
    Raises :class:`UsageError` for a graph that cannot be run and for devices of another kind, and what
    :func:`run_plan` raises.
    """
    _require_measurable(profile, cluster, options)
    plan = plan_as_asked(profile, cluster, request)
    rounds: list[MeasuredRound] = []
    ran: list[tuple[float, Plan]] = []
    for _ in range(MAX_ROUNDS):
        result = run_plan(plan, options, progress)
        assert result is not None, "planning is not done under a launcher"
        profile = rescale(profile, plan, [stage.measured_s for stage in result.stages])
        again = plan_as_asked(profile, cluster, request)
        ran.append((result.steady_samples_per_s, plan))
        corrected_s = objective_of(repredict(plan, profile))
        is_stable = corrected_s <= objective_of(again) * (1 + STABLE)
        rounds.append(_round(result, plan, plan if is_stable else again))
        if is_stable:
            break
        plan = again
    if not is_stable:
        plan = max(ran, key=lambda entry: entry[0])[1]
    corrected = under_bound(repredict(plan, profile), again.bound)
    changes = {"edited": False, "alternatives": again.alternatives, "planner": again.planner, "rounds": tuple(rounds)}
    keep_profile(profile)
    return Tuned(corrected.model_copy(update=changes), profile, is_stable)


def _require_measurable(profile: Profile, cluster: Cluster, options: RunOptions) -> None:
    if profile.model.is_graph:
        raise UsageError(
            f"{profile.model.source} is a graph without a model, whose stages cannot be run and measured",
            hint="leave out --measure, or name the model instead",
        )
    planned, here = cluster.devices[0].type, resolve_device(options.device)
    if planned != here:
        raise UsageError(
            f"cluster {cluster.name!r} is of {planned} devices and the stages would run on {here} devices here, whose "
            "times say nothing of it",
            hint="leave out --measure or --cluster",
        )


def _round(result: RunResult, plan: Plan, following: Plan) -> MeasuredRound:
    return MeasuredRound(
        predicted_s=tuple(stage.compute_s for stage in plan.stages),
        measured_s=tuple(stage.measured_s for stage in result.stages),
        predicted_samples_per_s=plan.prediction.samples_per_s,
        measured_samples_per_s=result.steady_samples_per_s,
        moved=_moved(plan, following),
    )


def _moved(plan: Plan, following: Plan) -> tuple[MovedNodes, ...]:
    """Nodes that stand in another stage in the plan that follows, by where they go."""
    after = following.stage_by_node
    by_way: dict[tuple[int, int], list[str]] = {}
    for name, stage in plan.stage_by_node.items():
        if after[name] != stage:
            by_way.setdefault((stage, after[name]), []).append(name)
    return tuple(
        MovedNodes(source=source, target=target, nodes=tuple(names)) for (source, target), names in by_way.items()
    )
