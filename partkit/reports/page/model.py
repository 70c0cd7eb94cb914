"""The model's picture: a map whose widths are times, and nested boxes that fold, both coloured by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from partkit.data.explanation import CutExplanation
from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.data.units import format_bytes, format_count, format_seconds
from partkit.reports.page.charts import chip, stage_class
from partkit.reports.page.drawn import CutsReached, Drawn, cut_texts, heat_style
from partkit.reports.page.html import Html, element, folded, joined
from partkit.reports.page.inside import Inside
from partkit.reports.page.map import map_html
from partkit.reports.page.tree import Box, module_tree, num_boxes, runs_of_alike

MAX_DRAWN_NODES = 1500
"""With more, modules stand for their nodes, and few of the layers that are alike show what is in them."""
MAX_DRAWN_BOXES = 2000
MAX_PACKED_NODES = 50_000
"""With more, what is in the modules that are drawn closed is not in the page at all."""


def model_html(profile: Profile, plan: Plan | None, cuts: Sequence[CutExplanation]) -> Html:
    """Map, ways to colour it, search and boxes of one model; without a plan, of no stage."""
    whole = module_tree(profile)
    if not whole.nodes:
        return element("p", "The profile has no operations.")
    drawn = drawn_of(whole, plan, cuts)
    with_nodes = drawn.with_nodes
    if not with_nodes and len(whole.nodes) <= MAX_PACKED_NODES:
        drawn = replace(drawn, inside=Inside())
    count = f"{format_count(len(whole.nodes))} operations in {format_count(num_boxes(whole) - 1)} modules"
    said = [f"{count}, {format_seconds(whole.time_s)} in all; times are {profile.method}."]
    if not with_nodes:
        said.append(
            "Of so many only modules are drawn; of layers that are alike the inside of the first and of those that a "
            f"cut goes through; and nothing deeper than {drawn.max_depth} levels."
        )
        if drawn.inside is not None:
            said.append("With JavaScript every module unfolds, down to its operations, and is searched.")
    boxes = _content(whole, drawn, CutsReached(), 1)
    return joined(
        element("p", " ".join(said)),
        _legend(plan),
        map_html(whole, drawn),
        element("div", _ways_to_colour(), _search(), class_="tools"),
        element("div", boxes, class_="boxes"),
        drawn.inside.html() if drawn.inside is not None else None,
    )


def drawn_of(whole: Box, plan: Plan | None, cuts: Sequence[CutExplanation]) -> Drawn:
    """What drawings of a model with operations need to know of it."""
    stage_by_node = plan.stage_by_node if plan is not None else {}
    with_nodes = len(whole.nodes) <= MAX_DRAWN_NODES
    return Drawn(
        stage_by_node=stage_by_node,
        cut_texts=cut_texts(plan, cuts),
        total_s=whole.time_s,
        most_node_s=max(node.time_s for node in whole.nodes),
        most_bytes=max(node.output_bytes for node in whole.nodes),
        with_nodes=with_nodes,
        max_depth=_depth_within(whole, stage_by_node, with_nodes=with_nodes),
    )


def _depth_within(whole: Box, stage_by_node: Mapping[str, int], *, with_nodes: bool) -> int:
    """Levels of modules that are drawn with no more than :data:`MAX_DRAWN_BOXES` boxes, at least one."""
    opened, depth, count = [whole], 0, 0
    while True:
        runs = [run for box in opened for run in runs_of_alike(box.content) if not isinstance(run, Node)]
        count += sum(len(run) for run in runs)
        if not runs or (count > MAX_DRAWN_BOXES and depth > 0):
            return max(depth, 1)
        depth += 1
        opened = [box for run in runs for box in run if with_nodes or _shows_inside(box, run, stage_by_node)]


def _shows_inside(box: Box, run: Sequence[Box], stage_by_node: Mapping[str, int]) -> bool:
    """Of modules that are alike one is enough, and those that a cut goes through."""
    return box is run[0] or len(box.stages(stage_by_node)) > 1


def _legend(plan: Plan | None) -> Html | None:
    if plan is None:
        return None
    items = [element("li", chip(stage.index), f" stage {stage.index}") for stage in plan.stages]
    return element("ul", *items, class_="legend", aria_label="Colours of stages")


def _ways_to_colour() -> Html:
    ways = (("stage", "stage"), ("time", "time"), ("bytes", "bytes of the result"))
    return element(
        "fieldset",
        element("legend", "Colour by"),
        *(
            element(
                "label",
                element("input", type="radio", name="colour", class_=f"by-{key}", checked=key == "stage"),
                f" {title}",
            )
            for key, title in ways
        ),
        class_="colours",
    )


def _search() -> Html:
    """For the script, without which it stays hidden."""
    return element(
        "div",
        element("label", "Search modules and operations ", element("input", type="search", class_="search")),
        element("button", "Unfold all", type="button", class_="unfold"),
        element("button", "Fold all", type="button", class_="fold"),
        element("output", "", class_="found", aria_live="polite"),
        class_="finder",
        hidden=True,
    )


def _content(box: Box, drawn: Drawn, cuts: CutsReached, depth: int) -> Html:
    shown = []
    for each in runs_of_alike(box.content):
        if isinstance(each, Node):
            shown.append(_node(each, drawn, cuts))
        elif len(each) == 1:
            shown.append(_box(each[0], drawn, cuts, depth, inside=True))
        else:
            shown.append(_alike(each, drawn, cuts, depth))
    return joined(*shown)


def _alike(boxes: Sequence[Box], drawn: Drawn, cuts: CutsReached, depth: int) -> Html:
    """Layers of the same form: one fold, in which each has its line."""
    first, last = boxes[0], boxes[-1]
    joint = Box(first.path, f"{first.name}–{last.name}", list(boxes))
    crossed = _cuts_before(joint, drawn, cuts)
    inside = []
    for box in boxes:
        shows = drawn.with_nodes or _shows_inside(box, boxes, drawn.stage_by_node)
        inside.append(_box(box, drawn, cuts, depth, inside=shows))
    extra = element("span", f"{len(boxes)} alike", class_="alike")
    return joined(
        crossed, _folded_box(joint, extra, drawn, joined(*inside), is_open=_is_open(joint, drawn, depth <= 3))
    )


def _box(box: Box, drawn: Drawn, cuts: CutsReached, depth: int, *, inside: bool) -> Html:
    crossed = _cuts_before(box, drawn, cuts)
    deeper = depth < drawn.max_depth or drawn.with_nodes
    content = _content(box, drawn, cuts, depth + 1) if inside and deeper else Html("")
    within = cuts.before([max(box.stages(drawn.stage_by_node), default=cuts.reached)])
    hidden = "; ".join(drawn.cut_texts[cut] for cut in within)
    extra = element("span", f"within: {hidden}", class_="alike") if hidden else None
    return joined(crossed, _folded_box(box, extra, drawn, content, is_open=_is_open(box, drawn, depth <= 2)))


def _is_open(box: Box, drawn: Drawn, is_outer: bool) -> bool:
    """Cuts are never folded away, nor the outer modules' modules."""
    return len(box.stages(drawn.stage_by_node)) > 1 or (is_outer and bool(box.boxes))


def _folded_box(box: Box, extra: Html | None, drawn: Drawn, content: Html, *, is_open: bool) -> Html:
    stages = box.stages(drawn.stage_by_node)
    summary = joined(
        *(chip(stage) for stage in stages),
        element("span", box.name, class_="name"),
        extra,
        _figures(box.time_s, box.output_bytes, drawn),
    )
    style = heat_style(box.output_bytes, drawn, box.time_s / drawn.total_s if drawn.total_s else 0.0)
    kind = f"box {stage_class(next(iter(stages))) if len(stages) == 1 else 'many'}"
    title = f"{box.path}: {format_count(len(box.nodes))} operations"
    if not content:
        number = None if drawn.inside is None else drawn.inside.add(_packed(box, drawn))
        return element("div", summary, class_=f"{kind} closed", style=style, title=title, data_inside=number)
    return folded(summary, content, is_open=is_open, class_=kind, style=style)


def _packed(box: Box, drawn: Drawn) -> Html:
    """All that is in a box that shows nothing of it, down to its operations."""
    first = min(box.stages(drawn.stage_by_node), default=0)
    return _content(box, replace(drawn, with_nodes=True, inside=None), CutsReached(first), 1)


def _node(node: Node, drawn: Drawn, cuts: CutsReached) -> Html:
    stage = drawn.stage_by_node.get(node.name)
    crossed = _crossed(cuts.before([] if stage is None else [stage]), drawn)
    if not drawn.with_nodes:
        return crossed
    mark = chip(stage) if stage is not None else None
    rebuilt = element("span", "depends on no input: rebuilt where it is used", class_="alike") if node.free else None
    share = node.time_s / drawn.most_node_s if drawn.most_node_s else 0.0
    return joined(
        crossed,
        element(
            "div",
            mark,
            element("span", node.name, class_="name"),
            element("span", node.op, class_="op"),
            rebuilt,
            _figures(node.time_s, node.output_bytes, drawn),
            class_=f"node {'none' if stage is None else stage_class(stage)}",
            style=heat_style(node.output_bytes, drawn, share),
        ),
    )


def _figures(time_s: float, output_bytes: int, drawn: Drawn) -> Html:
    share = f" ({100 * time_s / drawn.total_s:.1f}%)" if drawn.total_s else ""
    return element("span", f"{format_seconds(time_s)}{share} · {format_bytes(output_bytes)}", class_="figures")


def _cuts_before(box: Box, drawn: Drawn, cuts: CutsReached) -> Html:
    return _crossed(cuts.before(list(box.stages(drawn.stage_by_node))), drawn)


def _crossed(crossed: Sequence[int], drawn: Drawn) -> Html:
    return joined(*(element("div", drawn.cut_texts[cut], class_="cut") for cut in crossed))
