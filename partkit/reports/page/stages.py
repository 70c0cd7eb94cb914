"""What each stage does in the time of one item: predicted by its plan, and as runs and comparisons measured it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from partkit.data.module_paths import stage_labels
from partkit.data.plan import Plan, Stage
from partkit.data.result import Comparison, RunResult
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.page.charts import chip, segments, stage_class
from partkit.reports.page.contents import Contents, told_model
from partkit.reports.page.html import Html, Section, captioned, element, joined, section, wide

_SAME_FIGURE = 1e-3
"""A plan's figures and a run's copy of them are written with different numbers of digits."""


@dataclass(frozen=True)
class Turn:
    """A stage's time for one item by what it is spent on; None: not known."""

    source: str
    compute_s: float
    send_s: float | None
    receive_s: float | None
    idle_s: float | None
    overlaps: bool = True
    """Sends and receives while it computes, so that they take no time of their own unless they last longer."""


def stages_html(contents: Contents) -> Section | None:
    """Bars of each plan's stages with what was measured of them, and of runs whose plan is not here."""
    shown = [_plan(name, plan, contents) for name, plan in contents.plans]
    told = {name for _, plan in contents.plans for name, _ in _runs_of(plan, contents)}
    for name, result in contents.runs:
        if result.stages and name not in told:
            shown.append(_run_alone(name, result))
    if not shown:
        return None
    note = (
        "Per item and device. Idle: the rest of the time from one item to the next. "
        "What a stage waited for is told of recorded runs, in the timeline."
    )
    return section("stages", "Stages: predicted and measured", element("p", note, class_="note"), *shown)


def predicted(plan: Plan, stage: Stage) -> Turn:
    """A stage's turn as its plan has it."""
    send_s = sum(send.time_s for send in stage.sends)
    receive_s = sum(send.time_s for other in plan.stages for send in other.sends if send.to == stage.index)
    busy_s = stage.compute_s + (0.0 if plan.cluster.overlap else send_s + receive_s)
    period_s = plan.prediction.period_s * len(stage.devices)
    return Turn("predicted", stage.compute_s, send_s, receive_s, max(period_s - busy_s, 0.0), plan.cluster.overlap)


def measured(plan: Plan, stage: Stage, contents: Contents) -> Iterator[Turn]:
    """The same stage as the runs of this plan and the comparisons of its model had it."""
    replicas = len(stage.devices)
    for name, result in _runs_of(plan, contents):
        found = next((each.measured_s for each in result.stages if each.index == stage.index), None)
        if found is not None:
            period_s = (
                result.batch / result.steady_samples_per_s * replicas if result.steady_samples_per_s > 0 else found
            )
            yield Turn(f"measured, {name}", found, None, None, max(period_s - found, 0.0))
    for name, comparison in contents.comparisons:
        for executor, busy, period_s in _busy(plan, comparison):
            share = busy[stage.index]
            yield Turn(f"{executor} in {name}", share * period_s, None, None, (1 - share) * period_s)


def _runs_of(plan: Plan, contents: Contents) -> list[tuple[str, RunResult]]:
    """Runs whose stages were predicted as this plan's are: a run does not name its plan."""
    return [(name, result) for name, result in contents.runs if _is_of(plan, result)]


def _is_of(plan: Plan, result: RunResult) -> bool:
    if not result.stages or len(result.stages) > len(plan.stages):
        return False
    for each in result.stages:
        if each.index >= len(plan.stages):
            return False
        own = plan.stages[each.index].compute_s
        if each.predicted_s is not None and abs(each.predicted_s - own) > _SAME_FIGURE * own:
            return False
    return any(each.predicted_s is not None for each in result.stages)


def _busy(plan: Plan, comparison: Comparison) -> Iterator[tuple[str, tuple[float, ...], float]]:
    """Executor, busy shares by stage and seconds per item, of pipelines of the plan's model, a rank a stage."""
    alike = told_model(comparison.model) == told_model(plan.model)
    if not alike or any(len(stage.devices) > 1 for stage in plan.stages):
        return
    for row in comparison.rows:
        if (
            row.executor.startswith("pipeline")
            and row.status == "ok"
            and len(row.busy) == len(plan.stages)
            and row.samples_per_s
        ):
            yield row.executor, row.busy, plan.model.batch / row.samples_per_s


def _plan(name: str, plan: Plan, contents: Contents) -> Html:
    labels = stage_labels([stage.modules for stage in plan.stages])
    turns = [[predicted(plan, stage), *measured(plan, stage, contents)] for stage in plan.stages]
    most = max((_length(turn) for each in turns for turn in each), default=0.0)
    rows = [
        _row(stage.index, turn, most, labels[stage.index] if place == 0 else "", place == 0, len(each))
        for stage, each in zip(plan.stages, turns, strict=True)
        for place, turn in enumerate(each)
    ]
    missing = None
    if not any(len(each) > 1 for each in turns):
        missing = element(
            "p",
            "Nothing measured of these stages is among the files: 'partkit run PLAN -o run.json' gives it.",
            class_="note",
        )
    return joined(element("h3", name), _flow(plan, labels), _table(name, rows), missing)


def _flow(plan: Plan, labels: tuple[str, ...]) -> Html:
    """The stages in order with what each sends on: a picture that also reads as a list."""
    items = []
    for stage, label in zip(plan.stages, labels, strict=True):
        sends = [
            f"→ stage {send.to}: {format_bytes(send.bytes)}, {format_seconds(send.time_s)}" for send in stage.sends
        ]
        devices = ", ".join(plan.cluster.devices[device].name for device in stage.devices)
        worst = stage.index == plan.prediction.bottleneck_stage
        items.append(
            element(
                "li",
                element("p", chip(stage.index), f" {devices}"),
                element("p", label or f"{len(stage.nodes)} nodes", class_="what"),
                element(
                    "p",
                    f"{format_seconds(stage.compute_s)}, parameters {format_bytes(stage.param_bytes)}, "
                    f"peak {format_bytes(stage.peak_bytes)}",
                ),
                element("p", "bottleneck", class_="worst") if worst else None,
                *(element("p", send, class_="send") for send in sends),
                class_=f"stage {stage_class(stage.index)}",
            )
        )
    return element("ol", *items, class_="flow", aria_label="Stages in order")


def _run_alone(name: str, result: RunResult) -> Html:
    most = max(max(stage.measured_s, stage.predicted_s or 0.0) for stage in result.stages)
    rows = []
    for stage in result.stages:
        turns = [Turn("measured", stage.measured_s, None, None, None)]
        if stage.predicted_s is not None:
            turns.insert(0, Turn("predicted", stage.predicted_s, None, None, None))
        rows += [_row(stage.index, turn, most, "", place == 0, len(turns)) for place, turn in enumerate(turns)]
    return joined(element("h3", f"{name} (without its plan)"), _table(name, rows))


def _length(turn: Turn) -> float:
    own = turn.compute_s + (turn.idle_s or 0.0)
    return own if turn.overlaps else own + (turn.send_s or 0.0) + (turn.receive_s or 0.0)


def _row(index: int, turn: Turn, most: float, label: str, is_first: bool, span: int) -> Html:
    parts = [(turn.compute_s, f"bar {stage_class(index)}")]
    if not turn.overlaps:
        parts += [(turn.receive_s or 0.0, "receive"), (turn.send_s or 0.0, "send")]
    parts.append((turn.idle_s or 0.0, "idle"))
    figures = [turn.compute_s, turn.receive_s, turn.send_s, turn.idle_s]
    told = ["–" if each is None else format_seconds(each) for each in figures]
    words = ", ".join(
        f"{what} {text}"
        for what, text in zip(("computes", "receives", "sends", "idle"), told, strict=True)
        if text != "–"
    )
    head = None
    if is_first:
        head = element("th", chip(index), f" {label}", scope="rowgroup", rowspan=span)
    return element(
        "tr",
        head,
        element("td", turn.source),
        *(element("td", text, class_="n") for text in told),
        element("td", segments(parts, most, f"stage {index} {turn.source}: {words}"), class_="plot"),
        class_="first" if is_first else None,
    )


def _table(name: str, rows: list[Html]) -> Html:
    heads = (
        ("stage", None),
        ("", "unseen"),
        ("compute", "n"),
        ("receive", "n"),
        ("send", "n"),
        ("idle", "n"),
        ("chart", "unseen"),
    )
    head = element("tr", *(element("th", title or "figures", scope="col", class_=class_) for title, class_ in heads))
    caption = f"Time of one item on each stage, {name}"
    table = element("table", captioned(caption), element("thead", head), element("tbody", *rows), class_="bars")
    return wide(table, label=caption)
