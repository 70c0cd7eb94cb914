"""What a profile shows: time and size of each block of the model, sums over its nodes."""

from __future__ import annotations

from partkit.data.module_paths import MODEL_ITSELF, block_of
from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile
from partkit.data.units import format_bytes, format_count, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("module", "module", is_number=False),
    Column("nodes", "num_nodes"),
    Column("params", "param_bytes"),
    Column("time", "time_s"),
    Column("share", "time_share"),
    Column("output", "output_bytes"),
)


def profile_sheet(profile: Profile) -> Sheet:
    """A row per block in the order of the model, and what the times hold for."""
    nodes_by_block: dict[str, list[Node]] = {}
    for node in profile.nodes:
        if node.op not in (INPUT_OP, OUTPUT_OP):
            nodes_by_block.setdefault(block_of(node.module), []).append(node)
    total_s = sum(node.time_s for node in profile.nodes)
    rows = tuple(_row(profile, block, nodes, total_s) for block, nodes in nodes_by_block.items())
    return Sheet(tables=(Table(_COLUMNS, rows),), heading=_heading(profile), notes=(_total(profile, total_s),))


def _row(profile: Profile, block: str, nodes: list[Node], total_s: float) -> tuple[Cell, ...]:
    time_s = sum(node.time_s for node in nodes)
    share = time_s / total_s if total_s else 0.0
    params = profile.param_bytes_of(nodes)
    largest = max(node.output_bytes for node in nodes)
    return (
        text_cell(block or MODEL_ITSELF),
        Cell(format_count(len(nodes)), len(nodes)),
        Cell(format_bytes(params), params),
        Cell(format_seconds(time_s), time_s),
        Cell(f"{100 * share:.1f}%", share),
        Cell(format_bytes(largest), largest),
    )


def _heading(profile: Profile) -> str:
    inputs = ", ".join(str(spec) for spec in profile.model.inputs)
    parts = [profile.model.source, profile.model.dtype, inputs, f"{profile.device.name} ({profile.device.type})"]
    return " · ".join(part for part in parts if part)


def _total(profile: Profile, total_s: float) -> str:
    whole_s = total_s * profile.calibration.scale
    text = f"{format_count(len(profile.nodes))} nodes, {format_seconds(total_s)} in all"
    if profile.calibration.scale != 1:
        text += f", {format_seconds(whole_s)} run as one (calibration {profile.calibration.scale:.3g})"
    text = f"{text}; times are {profile.method}"
    return f"{text}: computed from FLOPs and bytes, not measured" if profile.method == "analytic" else text
