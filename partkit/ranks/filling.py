"""Whether a plan's lanes and microbatches can be had: refused before anything is started, never run as one."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.errors import MismatchError


def require_filling(plan: Plan, executor: str) -> None:
    """Raise :class:`MismatchError` for lanes or microbatches that an executor does not have."""
    asked = [f"{count} {name}" for name, count in (("lanes", plan.lanes), ("items a microbatch", plan.microbatch))]
    if plan.lanes > 1 or plan.microbatch > 1:
        raise MismatchError(
            f"the plan asks for {' and '.join(asked)}, which {executor} does not have",
            hint='set "lanes" and "microbatch" to 1 in the plan, or plan again',
        )
