"""What became of a plan: its prediction, its stages, what moved."""

from __future__ import annotations

from collections.abc import Iterator

from partkit.data.difference import Change
from partkit.data.module_paths import stage_labels
from partkit.data.plan import MovedNodes, Plan
from partkit.data.units import format_count, format_rate, format_ratio, format_seconds
from partkit.reports.difference.told import Told, unlike_models
from partkit.reports.difference.walk import change_of, changes_between

_OWN_WORDS = (
    "provenance",
    "schema_version",
    "kind",
    "stages",
    "planner",
    "profile_sha256",
    "structure_sha256",
    "rounds",
)
_OF_STAGES = ("nodes", "modules", "values", "recomputes")
_ORDER = ("prediction", "bound", "objective", "executor", "lanes", "microbatch", "max_delay_s", "model", "constraints")
"""What is told first."""


def tell(before: Plan, after: Plan, _: tuple[str, str]) -> Told:
    """The predicted speed, then stages, the nodes that moved, and what was asked of the planner."""
    unlike = unlike_models(before.model, after.model)
    moved = () if unlike else _moved(before, after)
    stages = ({}, {}) if unlike else (before.stage_by_node, after.stage_by_node)
    data = before.to_data(), after.to_data()
    ordered = dict.fromkeys((*_ORDER, *data[0]))
    first, second = ({name: each[name] for name in ordered if name in each} for each in data)
    changes = (
        *_counts(before, after),
        *changes_between(first, second, "", skip=_OWN_WORDS),
        *_labels(before, after),
        *changes_between(data[0]["stages"], data[1]["stages"], "stages", skip=_OF_STAGES),
        *changes_between(before.planner.name, after.planner.name, "planner.name"),
    )
    return Told(
        " ".join(filter(None, [unlike, _faster(before, after)])),
        changes,
        moved,
        only_before=tuple(name for name in stages[0] if name not in stages[1]),
        only_after=tuple(name for name in stages[1] if name not in stages[0]),
        notes=tuple(_notes(before, after, moved)),
    )


def _faster(before: Plan, after: Plan) -> str:
    rates = before.prediction.samples_per_s, after.prediction.samples_per_s
    text = f"Predicted {format_rate(rates[1])} samples/s instead of {format_rate(rates[0])}"
    text += f" ({format_ratio(*rates)})" if min(rates) > 0 else ""
    if len(before.stages) != len(after.stages):
        text += f", with {len(after.stages)} stages instead of {len(before.stages)}"
    worst = after.prediction.bottleneck_stage
    text += f"; stage {worst} holds it up with {format_seconds(after.prediction.period_s)}"
    if worst != before.prediction.bottleneck_stage:
        text += f", where stage {before.prediction.bottleneck_stage} did"
    return f"{text}."


def _counts(before: Plan, after: Plan) -> Iterator[Change]:
    if len(before.stages) != len(after.stages):
        yield change_of("stages", len(before.stages), len(after.stages), what="stages")


def _labels(before: Plan, after: Plan) -> Iterator[Change]:
    """What each stage holds, where that reads another way."""
    labels = [stage_labels([stage.modules for stage in plan.stages]) for plan in (before, after)]
    for index in range(max(len(each) for each in labels)):
        told = [each[index] if index < len(each) else None for each in labels]
        if told[0] != told[1]:
            yield change_of(f"stages[{index}].modules", *told, what=f"stage {index} holds", unit="")


def _moved(before: Plan, after: Plan) -> tuple[MovedNodes, ...]:
    stages = before.stage_by_node, after.stage_by_node
    nodes: dict[tuple[int, int], list[str]] = {}
    for name, stage in stages[0].items():
        if name in stages[1] and stages[1][name] != stage:
            nodes.setdefault((stage, stages[1][name]), []).append(name)
    return tuple(MovedNodes(source=way[0], target=way[1], nodes=tuple(names)) for way, names in sorted(nodes.items()))


def _notes(before: Plan, after: Plan, moved: tuple[MovedNodes, ...]) -> Iterator[str]:
    if before.profile_sha256 != after.profile_sha256 and before.model == after.model:
        yield "made from different profiles: part of what differs is how the nodes were measured"
    for way in moved:
        count = len(way.nodes)
        names = way.nodes[0] if count == 1 else f"{way.nodes[0]} to {way.nodes[-1]}"
        number = f"{format_count(count)} node{'s' if count != 1 else ''}"
        yield f"{number} moved from stage {way.source} to stage {way.target} ({names})"
    for old, new in zip(before.stages, after.stages, strict=False):
        recomputed = set(new.recomputes) ^ set(old.recomputes)
        if recomputed:
            yield f"stage {new.index} computes {len(new.recomputes)} nodes again instead of {len(old.recomputes)}"
    if len(before.rounds) != len(after.rounds):
        yield f"{len(after.rounds)} plans were run before it was made (--measure), where {len(before.rounds)} were"
