"""Whether a plan's lanes and microbatches can be had: refused before anything is started, never run as one."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.errors import MismatchError, UsageError
from partkit.executors import EXECUTORS, executor_info


def filled_for(plan: Plan, executor: str) -> Plan:
    """The plan with what of its lanes an executor has, for comparisons, whose rows say so."""
    return plan if executor_info(executor).has_lanes else plan.model_copy(update={"lanes": 1})


def require_filling(plan: Plan, executor: str, *, records: bool) -> None:
    """Raise :class:`MismatchError` for lanes or microbatches that an executor does not have.

    ``records``: the run's timeline is to be told, which is of one lane (:class:`UsageError`).
    """
    if plan.microbatch > 1 and "batch" not in plan.model.sizes:
        raise MismatchError(
            f"the plan asks for {plan.microbatch} items a microbatch, and the batch of {plan.model.source} is fixed in "
            "it",
            hint=f"plan again with --microbatch {plan.microbatch}",
        )
    if plan.lanes > 1 and not executor_info(executor).has_lanes:
        able = ", ".join(name for name, info in EXECUTORS.items() if info.has_lanes)
        raise MismatchError(
            f"the plan asks for {plan.lanes} lanes, which {executor} does not have",
            hint=f'use one of {able}, or set "lanes" to 1 in the plan',
        )
    if plan.lanes > 1 and records:
        raise UsageError(
            f"a timeline is of stages that compute one item at a time, and the plan has {plan.lanes} lanes",
            hint='set "lanes" to 1 in the plan, or leave out --trace',
        )
