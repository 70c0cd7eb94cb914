"""What became of a profile, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from partkit.data.difference import Change
from partkit.data.module_paths import MODEL_ITSELF, block_of
from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile
from partkit.data.units import format_change, format_count, format_ratio, format_seconds
from partkit.reports.difference.told import Told, unlike_models
from partkit.reports.difference.walk import changes_between

_GRAPH = ("provenance", "schema_version", "kind", "nodes", "edges", "parameters", "structure_sha256")
_MOST_NAMED = 3


def tell(before: Profile, after: Profile, _: tuple[str, str]) -> Told:
    """The time of all nodes together, then blocks, then what nodes are not the same."""
    totals = [sum(node.time_s for node in each.nodes) for each in (before, after)]
    nodes = [{node.name: node for node in each.nodes} for each in (before, after)]
    changes = (
        *changes_between(totals[0], totals[1], "time_s"),
        *_of(before, after),
        *changes_between(_blocks(before), _blocks(after), "blocks"),
    )
    text = f"{format_seconds(totals[1])} in all instead of {format_seconds(totals[0])}"
    text += f" ({format_ratio(*totals)})" if min(totals) > 0 else ""
    return Told(
        " ".join(filter(None, [unlike_models(before.model, after.model), f"{text}."])),
        changes,
        only_before=tuple(name for name in nodes[0] if name not in nodes[1]),
        only_after=tuple(name for name in nodes[1] if name not in nodes[0]),
        notes=tuple(_notes(before, after, nodes)),
    )


def _of(before: Profile, after: Profile) -> Iterator[Change]:
    yield from changes_between(before.to_data(), after.to_data(), "", skip=_GRAPH)


def _blocks(profile: Profile) -> list[dict[str, Any]]:
    """Sums over each block's nodes."""
    nodes: dict[str, list[Node]] = {}
    for node in profile.nodes:
        if node.op not in (INPUT_OP, OUTPUT_OP):
            nodes.setdefault(block_of(node.module) or MODEL_ITSELF, []).append(node)
    return [
        {
            "name": block,
            "time_s": sum(node.time_s for node in each),
            "nodes": len(each),
            "param_bytes": profile.param_bytes_of(each),
            "output_bytes": max(node.output_bytes for node in each),
        }
        for block, each in nodes.items()
    ]


def _notes(before: Profile, after: Profile, nodes: list[dict[str, Node]]) -> Iterator[str]:
    both = [(node, nodes[1][node.name]) for node in before.nodes if node.name in nodes[1]]
    slower = [(old, new) for old, new in both if new.time_s != old.time_s]
    if slower:
        most = sorted(slower, key=lambda pair: -abs(pair[1].time_s - pair[0].time_s))[:_MOST_NAMED]
        yield (
            f"{format_count(len(slower))} of {format_count(len(both))} nodes take another time, most of all "
            + ", ".join(
                f"{new.name} ({format_seconds(old.time_s)} -> {format_seconds(new.time_s)}"
                + (f", {format_change(new.time_s / old.time_s - 1)})" if old.time_s > 0 else ")")
                for old, new in most
            )
        )
    others = [
        new.name
        for old, new in both
        if old.model_copy(update={"time_s": 0.0}) != new.model_copy(update={"time_s": 0.0})
    ]
    if others:
        count = format_count(len(others))
        yield f"{count} of them have another operation, module, size or parameter, the first being {others[0]}"
    edges = set(before.edges), set(after.edges)
    if edges[0] != edges[1]:
        came, went = format_count(len(edges[1] - edges[0])), format_count(len(edges[0] - edges[1]))
        yield f"{came} uses of values came, {went} went"
    if before.parameters != after.parameters:
        unlike_sizes = dict(before.parameters.items() ^ after.parameters.items())
        yield f"{format_count(len(unlike_sizes))} parameters are not in both with the same size"
