"""What a plan shows: its stages, the bottleneck against the bound, the prediction against simpler cuts."""

from __future__ import annotations

from partkit.data.generate import Generate
from partkit.data.module_paths import stage_labels
from partkit.data.plan import MeasuredRound, Plan, Stage
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table

_COLUMNS = (
    Column("stage", "stage"),
    Column("device", "devices"),
    Column("modules", "modules", is_number=False, may_wrap=True),
    Column("params", "param_bytes"),
    Column("peak", "peak_bytes"),
    Column("compute", "compute_s"),
    Column("sends", "send_bytes", is_number=False),
)
_PLANNER_NAMES = {"even": "even layers", "by_params": "by parameters"}


def plan_sheet(plan: Plan) -> Sheet:
    """A row per stage, then the bottleneck and the prediction."""
    labels = stage_labels([stage.modules for stage in plan.stages])
    rows = tuple(_row(stage, label) for stage, label in zip(plan.stages, labels, strict=True))
    notes = [_bottleneck(plan), _predicted(plan)]
    if plan.generate is not None:
        notes[1] = _writing(plan.generate)
    elif plan.prediction.interval is not None:
        low, high = map(format_rate, plan.prediction.interval)
        notes.append(f"nine of ten runs: {low} to {high} samples/s ({plan.prediction.interval_source})")
    if plan.planner.detail:
        notes.append(f"planner {plan.planner.name}: {plan.planner.detail}")
    notes += [_round(number, measured) for number, measured in enumerate(plan.rounds, start=1)]
    if plan.lanes > 1:
        notes.append(f"{plan.lanes} lanes: each device computes as many items side by side; times are of one alone")
    if plan.microbatch > 1:
        delay = f", each waiting for others {format_seconds(plan.max_delay_s)} at most" if plan.max_delay_s else ""
        notes.append(f"microbatches: {plan.microbatch} items go through the stages as one{delay}")
    margin = plan.cluster.provenance.get("memory_margin")
    if isinstance(margin, float):
        notes.append(f"of each device's free memory {100 * margin:.0f}% is left alone (--margin)")
    if plan.node_times.is_analytic:
        notes.append(f"times are analytic, of {plan.node_times.device}: computed from FLOPs and bytes, not measured")
    if not plan.contiguous:
        notes.append("stages are not contiguous in any one order of the nodes: no executor can run them")
    if plan.edited:
        notes.append("edited by hand")
    return Sheet(tables=(Table(_COLUMNS, rows),), notes=tuple(notes))


def _row(stage: Stage, label: str) -> tuple[Cell, ...]:
    devices = ",".join(str(device) for device in stage.devices)
    sends = ", ".join(f"{format_bytes(send.bytes)} -> {send.to}" for send in stage.sends)
    return (
        Cell(str(stage.index), stage.index),
        Cell(devices, devices),
        Cell(label or f"{len(stage.nodes)} nodes", " ".join(stage.modules)),
        Cell(format_bytes(stage.param_bytes), stage.param_bytes),
        Cell(format_bytes(stage.peak_bytes), stage.peak_bytes),
        Cell(format_seconds(stage.compute_s), stage.compute_s),
        Cell(sends, sum(send.bytes for send in stage.sends)),
    )


def _writing(generate: Generate) -> str:
    """What a plan that writes text should reach; its items are steps."""
    rate, gap = format_rate(generate.tokens_per_s), format_seconds(generate.token_s)
    lanes = f"{generate.lanes} lane{'s' if generate.lanes > 1 else ''} of {generate.rows}"
    first = f"first token after {format_seconds(generate.first_token_s)}, " if generate.first_token_s else ""
    return f"predicted {rate} tokens/s, {first}{gap} from token to token: up to {generate.max_length} tokens in {lanes}"


def _bottleneck(plan: Plan) -> str:
    worst = plan.prediction.bottleneck_stage
    parts = [f"bottleneck stage {worst} ({format_seconds(plan.prediction.period_s)})"]
    if plan.objective == "latency":
        parts.append(f"latency {format_seconds(plan.prediction.latency_s)}")
    if plan.objective == "memory":
        parts.append(f"largest peak {format_bytes(max(stage.peak_bytes for stage in plan.stages))}")
    lower = _lower_bound(plan)
    if lower:
        parts.append(f"lower bound {lower}")
        if plan.bound.optimal:
            parts.append("proved the best possible")
        else:
            parts.append(f"within {100 * plan.bound.gap:.1f}% of the best possible")
    return " · ".join(parts)


def _lower_bound(plan: Plan) -> str:
    """The bound on what the plan was made for; empty where none was proved."""
    if plan.objective == "memory":
        return format_bytes(plan.bound.peak_bytes) if plan.bound.peak_bytes else ""
    seconds = plan.bound.latency_s if plan.objective == "latency" else plan.bound.period_s
    return format_seconds(seconds) if seconds else ""


def _predicted(plan: Plan) -> str:
    text = f"predicted {format_rate(plan.prediction.samples_per_s)} samples/s"
    others = [
        f"{_PLANNER_NAMES.get(other.planner, other.planner)} {format_rate(plan.model.batch / other.period_s)}"
        for other in plan.alternatives
        if other.period_s > 0
    ]
    return f"{text}   ({' · '.join(others)})" if others else text


def _round(number: int, measured: MeasuredRound) -> str:
    stages = ", ".join(
        f"{format_seconds(seconds)} ({_percent(seconds, predicted)})"
        for seconds, predicted in zip(measured.measured_s, measured.predicted_s, strict=True)
    )
    rate = format_rate(measured.measured_samples_per_s)
    error = _percent(measured.measured_samples_per_s, measured.predicted_samples_per_s)
    moves = [f"{len(way.nodes)} nodes moved from stage {way.source} to {way.target}" for way in measured.moved]
    outcome = ", ".join(moves) or "no other cut promised more"
    return f"round {number}: stages took {stages}, {rate} samples/s ({error}); {outcome}"


def _percent(value: float, reference: float) -> str:
    """How far a measured figure is from the predicted one."""
    return f"{100 * (value / reference - 1):+.1f}%" if reference > 0 else "not predicted"
