"""What ``partkit run`` is told of load: microbatches in place of the plan's, and a bound that a rate is sought for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.data.plan import Plan


def refilled(plan: Plan, microbatch: int | None, max_delay: str | None, *, is_used: bool) -> Plan:
    """The plan with other microbatches; raises :class:`UsageError` where they have no effect or no room."""
    from partkit.data.units import parse_seconds

    if microbatch is None and max_delay is None:
        return plan
    if not is_used:
        raise UsageError(
            "--microbatch and --max-delay are of items that come by themselves", hint="add --inputs or --find-rate"
        )
    largest = plan.model.sizes.get("batch")
    if microbatch is not None and microbatch > 1 and (largest is None or microbatch > largest):
        held = "its batch is fixed" if largest is None else f"its batch varies up to {largest}"
        raise UsageError(
            f"--microbatch {microbatch} has no room in the plan: {held}",
            hint=f"plan again with --microbatch {microbatch}",
        )
    count = plan.microbatch if microbatch is None else microbatch
    delay_s = plan.max_delay_s if max_delay is None else parse_seconds(max_delay)
    if delay_s and count == 1:
        raise UsageError("--max-delay is of microbatches, and there are none", hint="add --microbatch N")
    return plan.model_copy(update={"microbatch": count, "max_delay_s": delay_s})


def samples_of(planned: Plan, refilled_plan: Plan, batch: int | None) -> int:
    """Samples in an item of a program: as many as leave room for a microbatch, the plan's or what replaces it."""
    largest = planned.model.batch
    if "batch" not in planned.model.sizes:
        return largest
    return batch or max(1, largest // max(planned.microbatch, refilled_plan.microbatch))


def require_find_rate(asked: bool, max_latency: str | None, *, others: Mapping[str, bool]) -> float | None:
    """The bound in seconds; None where no rate is sought. Raises :class:`UsageError` for what does not go together."""
    from partkit.data.units import parse_seconds

    if not asked:
        if max_latency is not None:
            raise UsageError("--max-latency is the bound of --find-rate", hint="add --find-rate")
        return None
    if max_latency is None:
        raise UsageError("--find-rate needs the bound that the latency is to hold", hint="add --max-latency, as 20ms")
    if given := [name for name, is_given in others.items() if is_given]:
        raise UsageError(f"--find-rate sets its own load, and {given[0]} cannot change it", hint="leave it out")
    limit_s = parse_seconds(max_latency)
    if limit_s == 0:
        raise UsageError("--max-latency 0 holds at no rate", hint="give a time, as 20ms")
    return limit_s
