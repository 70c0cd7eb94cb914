"""What the executors of a comparison came to: rows, verdict, warnings, and what the figures must be read with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from partkit.data.plan import Plan
from partkit.data.result import Comparison
from partkit.machine.devices import num_cores
from partkit.machine.environment import describe_environment, describe_gpus
from partkit.runs.contender import Contender, row_of, throttles
from partkit.runs.verdict import conclude

if TYPE_CHECKING:
    from partkit.runs.compare import CompareOptions


def comparison_of(
    plan: Plan,
    contenders: Sequence[Contender],
    options: CompareOptions,
    load_before: float,
    unchecked: str | None,
) -> Comparison:
    """The contenders' rows and what they come to; ``unchecked`` is why none of them was checked."""
    rows = tuple(row_of(contender) for contender in contenders)
    reasons = [f"{row.executor}: {row.reason}" for row in rows if row.status == "invalid"]
    if unchecked is not None:
        reasons = [unchecked]  # once for all
    elif not any(row.status == "ok" for row in rows):
        reasons.append("no executor ran")
    num_devices = len({device for stage in plan.stages for device in stage.devices})
    return Comparison(
        valid=not reasons,
        reasons=tuple(reasons),
        model=plan.model,
        devices=num_devices,
        rows=rows,
        verdict=conclude(rows, num_devices),
        warnings=(*plan.model.notes, *_warnings(contenders, options, load_before)),
        environment=_environment(plan, contenders, options),
    )


def _warnings(contenders: Sequence[Contender], options: CompareOptions, load_before: float) -> Iterator[str]:
    if options.quick:
        yield "quick: few and short rounds, so that figures are rough"
    if load_before > num_cores() / 2:
        yield f"the machine was busy before the comparison: load {load_before:.1f} on {num_cores()} cores"
    yield from (f"clocks were throttled: {reason}" for reason in sorted(throttles(contenders)))


def _environment(plan: Plan, contenders: Sequence[Contender], options: CompareOptions) -> dict[str, Any]:
    started = [contender.group.job for contender in contenders if contender.group is not None]
    device = started[0].device if started else options.device
    return {
        **describe_environment(),
        **(describe_gpus() if device == "cuda" else {}),
        "rounds": options.rounds,
        "seconds_per_round": options.seconds_per_round,
        "quick": options.quick,
        "device": device,
        "threads_per_rank": started[0].threads if started else options.threads,
        "streams": options.streams,
        "seed_of_weights_and_inputs": plan.model.seed,
        "seed_of_turns": options.seed,
    }
