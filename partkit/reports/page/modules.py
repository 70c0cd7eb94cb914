"""A row for each module, to be sorted."""

from __future__ import annotations

from collections.abc import Mapping

from partkit.data.plan import Plan
from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile
from partkit.data.units import format_bytes, format_count, format_seconds
from partkit.reports.page.contents import Contents
from partkit.reports.page.html import Html, Section, element, joined, section, table_html
from partkit.reports.sheet import Cell, Column, Table, text_cell

_MODULES = (
    Column("module", "module", is_number=False),
    Column("stage", "stages"),
    Column("operations", "num_nodes"),
    Column("time", "time_s"),
    Column("share", "time_share"),
    Column("params", "param_bytes"),
    Column("result", "output_bytes"),
)
MAX_MODULE_ROWS = 500


def modules_html(contents: Contents) -> Section | None:
    """A row for each module with operations of its own."""
    known = [
        (name, contents.profiles[plan.profile_sha256], plan)
        for name, plan in contents.plans
        if plan.profile_sha256 in contents.profiles
    ]
    tables = [_modules(name, profile, plan) for name, profile, plan in known]
    tables += [_modules(name, profile, None) for name, profile in contents.lone_profiles]
    return section("modules", "Modules", *tables) if tables else None


def _modules(name: str, profile: Profile, plan: Plan | None) -> Html:
    stage_by_node = plan.stage_by_node if plan is not None else {}
    nodes_by_module: dict[str, list[Node]] = {}
    for node in profile.nodes:
        if node.op not in (INPUT_OP, OUTPUT_OP):
            nodes_by_module.setdefault(node.module, []).append(node)
    total_s = sum(node.time_s for node in profile.nodes)
    kept = sorted(nodes_by_module, key=lambda module: -sum(node.time_s for node in nodes_by_module[module]))[
        :MAX_MODULE_ROWS
    ]
    kept_set = set(kept)
    rows = tuple(
        _module(module, nodes, profile.param_bytes_of(nodes), total_s, stage_by_node)
        for module, nodes in nodes_by_module.items()
        if module in kept_set
    )
    left = len(nodes_by_module) - len(rows)
    note = f"The {format_count(left)} modules that take least time are left out." if left else ""
    caption = f"Modules with operations of their own, {name}"
    return joined(
        table_html(Table(_MODULES, rows).without_empty_columns(), caption, sortable=True),
        element("p", note, class_="note") if note else None,
    )


def _module(
    module: str, nodes: list[Node], params: int, total_s: float, stage_by_node: Mapping[str, int]
) -> tuple[Cell, ...]:
    time_s = sum(node.time_s for node in nodes)
    stages = sorted({stage_by_node[node.name] for node in nodes if node.name in stage_by_node})
    share = time_s / total_s if total_s else 0.0
    return (
        text_cell(module or "(model)"),
        Cell(", ".join(map(str, stages)) or "–", stages[0] if stages else None),
        Cell(format_count(len(nodes)), len(nodes)),
        Cell(format_seconds(time_s), time_s),
        Cell(f"{100 * share:.1f}%", share),
        Cell(format_bytes(params), params),
        Cell(format_bytes(nodes[-1].output_bytes), nodes[-1].output_bytes),
    )
