"""The model as a map: modules over their time, outer ones above, coloured by stage, cuts as lines."""

from __future__ import annotations

from partkit.data.units import format_seconds
from partkit.reports.page.charts import percent, stage_class
from partkit.reports.page.drawn import CutsReached, Drawn, heat_style
from partkit.reports.page.html import Html, element
from partkit.reports.page.tree import Box

_MAP_DEPTH = 6
_ROW_PX = 22
_LABELS_PX = 34
"""Two rows, which cuts take by turns, since neighbours may lie close."""
_LEAST_WIDTH = 0.002
_LEAST_NAMED = 0.012


def map_html(whole: Box, drawn: Drawn) -> Html | None:
    """Modules over their time, outer ones above; cuts as lines."""
    if drawn.total_s <= 0:
        return None
    shapes, height = map_shapes(whole, drawn)
    label = "Map of the model: the width of a module is its share of the time, and its colour its stage"
    svg = element("svg", *shapes, width="100%", height=height, role="img", aria_label=label)
    caption = element("figcaption", f"{label}. The boxes below say the same in words.")
    return element(
        "figure", element("div", svg, class_="wide map", tabindex="0", role="group", aria_label=label), caption
    )


def map_shapes(whole: Box, drawn: Drawn, *, deepest: int = _MAP_DEPTH) -> tuple[list[Html], int]:
    """What the map is made of, as wide as whatever it is put in, and its height in pixels."""
    shapes: list[Html] = []
    depth = _map_level(whole, 0.0, 0, drawn, shapes, deepest)
    height = _LABELS_PX + (depth + 1) * _ROW_PX
    return shapes + _map_cuts(whole, drawn, height), height


def _map_level(box: Box, start_s: float, depth: int, drawn: Drawn, shapes: list[Html], most: int) -> int:
    """Draw what is in ``box`` from ``start_s`` on; returns the deepest row."""
    deepest = depth
    for each in box.content:
        if isinstance(each, Box) and depth < most and each.time_s / drawn.total_s >= _LEAST_WIDTH:
            shapes.append(_map_box(each, start_s, depth, drawn))
            deepest = max(deepest, _map_level(each, start_s, depth + 1, drawn, shapes, most) if each.boxes else depth)
        start_s += each.time_s
    return deepest


def _map_box(box: Box, start_s: float, depth: int, drawn: Drawn) -> Html:
    share = box.time_s / drawn.total_s
    parts, x = [], 0.0
    stages = box.stages(drawn.stage_by_node)
    for stage, seconds in stages.items():
        width = seconds / box.time_s if box.time_s else 0.0
        parts.append(element("rect", x=percent(x), width=percent(width), height="100%", class_=stage_class(stage)))
        x += width
    if not stages:
        parts.append(element("rect", width="100%", height="100%", class_="none"))
    heat = element("rect", width="100%", height="100%", class_="heat", style=heat_style(box.output_bytes, drawn, share))
    name = element("text", box.name, x="3", y="14") if share >= _LEAST_NAMED else None
    frame = element("rect", width="100%", height="100%", class_="frame")
    return element(
        "svg",
        element("title", f"{box.path or box.name}: {format_seconds(box.time_s)}, {100 * share:.1f}% of the time"),
        *parts,
        heat,
        frame,
        name,
        x=percent(start_s / drawn.total_s),
        y=_LABELS_PX + depth * _ROW_PX,
        width=percent(share),
        height=_ROW_PX - 2,
    )


def _map_cuts(whole: Box, drawn: Drawn, height: int) -> list[Html]:
    shapes, start_s, cuts = [], 0.0, CutsReached()
    for node in whole.nodes:
        stages = [drawn.stage_by_node[node.name]] if node.name in drawn.stage_by_node else []
        for cut in cuts.before(stages):
            x = start_s / drawn.total_s
            text = drawn.cut_texts[cut].partition(" cross")[0].removeprefix("cut ")
            anchor = "end" if x > 0.85 else "start"
            shapes.append(element("line", x1=percent(x), x2=percent(x), y1="0", y2=height, class_="cut"))
            shapes.append(
                element(
                    "text",
                    text,
                    x=percent(x),
                    dx=-5 if anchor == "end" else 5,
                    y=12 + cut % 2 * 15,
                    text_anchor=anchor,
                    class_="cut",
                )
            )
        start_s += node.time_s
    return shapes
