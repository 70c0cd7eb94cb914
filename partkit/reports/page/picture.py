"""A plan as one picture: its stages one under the other, what crosses between them, and the model cut over its time.

Plain SVG by itself: no script, no CSS that only browsers know, so that Inkscape, LaTeX and slides show it as well; dark
where the reader's system is. Stages are told apart by Okabe and Ito's colours and by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from partkit.data.explanation import CutExplanation
from partkit.data.module_paths import stage_labels
from partkit.data.plan import Plan, Send, Stage
from partkit.data.profile import Profile
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.data.wrap import wrapped
from partkit.reports.colours import STAGE_COLOURS
from partkit.reports.page.charts import stage_class
from partkit.reports.page.html import Html, element
from partkit.reports.page.map import map_shapes
from partkit.reports.page.model import drawn_of
from partkit.reports.page.tree import module_tree

_WIDTH, _MARGIN, _PADDING = 760, 16, 14
_LINE, _BAR, _GAP, _HEADER = 18, 10, 34, 66
_LANE = 14
_LETTERS = 92
"""Letters of a line: what fits beside the widest font that a viewer may choose."""
_MAP_ROWS = 3
_NAMED = 2

_ROOT = "partkit-plan"
_LIGHT = {
    "text": "font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1b1f24",
    ".lead": "font-size:17px;font-weight:600",
    ".what": "font-weight:600",
    ".soft": "fill:#57606a",
    ".worst": "font-weight:600;fill:#b42318",
    ".paper": "fill:#fff",
    ".box": "fill:#f6f8fa;stroke:#d0d7de",
    ".track": "fill:#d0d7de",
    ".send": "fill:#57606a",
    ".way": "fill:none;stroke:#57606a;stroke-width:1.5",
    ".head": "fill:#57606a",
    **{f".s{place}": f"fill:{colour}" for place, colour in enumerate(STAGE_COLOURS)},
    ".none": "fill:#d0d7de",
    ".map rect": "fill-opacity:.5",
    ".map .frame": "fill:none;stroke:#fff;stroke-width:2",
    ".map .heat": "fill:none",
    "text.cut": "font-weight:600",
    "line.cut": "stroke:#1b1f24;stroke-width:2;stroke-dasharray:5 3",
}
_DARK = {
    "text": "fill:#e6edf3",
    ".soft": "fill:#a3adb8",
    ".worst": "fill:#ff8d85",
    ".paper": "fill:#14171c",
    ".box": "fill:#1d2229;stroke:#3d444d",
    ".track": "fill:#3d444d",
    ".none": "fill:#3d444d",
    ".send": "fill:#a3adb8",
    ".head": "fill:#a3adb8",
    ".way": "stroke:#a3adb8",
    ".map .frame": "stroke:#14171c",
    "line.cut": "stroke:#e6edf3",
}


def _rules(rules: Mapping[str, str]) -> str:
    """Of this picture alone, also where its text stands in a page with rules of its own."""
    return "".join(f".{_ROOT} {selector}{{{body}}}" for selector, body in rules.items())


def picture_svg(plan: Plan, profile: Profile | None, cuts: Sequence[CutExplanation] = ()) -> str:
    """The picture's text, ending with a newline; without the plan's ``profile`` the model over its time is left out."""
    far = _lanes([(stage.index, send) for stage in plan.stages for send in stage.sends if send.to != stage.index + 1])
    width = _WIDTH + (_LANE * (1 + max((lane for _, _, lane in far), default=-1)))
    shapes = [_text(_lead(plan), _MARGIN, 28, "lead"), _text(_predicted(plan), _MARGIN, 50, "soft")]
    y = _HEADER
    if profile is not None and module_tree(profile).time_s > 0:
        strip, height = _map(plan, profile, cuts, y)
        shapes.append(strip)
        y += height + _MARGIN
    tops: list[tuple[int, int]] = []
    labels = stage_labels([stage.modules for stage in plan.stages])
    most_s = max((_busy_s(stage) for stage in plan.stages), default=0.0)
    for stage, label in zip(plan.stages, labels, strict=True):
        drawn, height = _stage(plan, stage, label, most_s, y)
        shapes += drawn
        tops.append((y, height))
        y += height
        if stage.index + 1 < len(plan.stages):
            shapes += _crossing(stage, y)
            y += _GAP
    for source, send, lane in far:
        shapes += _detour(tops[source], tops[send.to], send, lane)
    height = y + _MARGIN
    svg = element(
        "svg",
        element("title", f"{_lead(plan)}: {_predicted(plan)}", id="partkit-title"),
        element("desc", " ".join(_described(plan, labels)), id="partkit-desc"),
        element("style", Html(f"{_rules(_LIGHT)}@media (prefers-color-scheme:dark){{{_rules(_DARK)}}}")),
        element("rect", width="100%", height="100%", class_="paper"),
        *shapes,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        class_=_ROOT,
        role="img",
        aria_labelledby="partkit-title partkit-desc",
    )
    return f"{svg}\n"


def _lead(plan: Plan) -> str:
    count = len({device for stage in plan.stages for device in stage.devices})
    stages = f"{len(plan.stages)} stage{'s' if len(plan.stages) != 1 else ''}"
    return f"{plan.model.source} in {stages} on {count} device{'s' if count != 1 else ''}"


def _predicted(plan: Plan) -> str:
    told = plan.prediction
    text = f"predicted {format_rate(told.samples_per_s)} samples/s · latency {format_seconds(told.latency_s)}"
    if plan.bound.period_s and plan.objective == "throughput":
        gap = "the best possible" if plan.bound.optimal else f"within {100 * plan.bound.gap:.1f}% of the best possible"
        text += f" · {gap}"
    return f"{text} · times are analytic" if plan.node_times.is_analytic else text


def _described(plan: Plan, labels: Sequence[str]) -> Iterator[str]:
    """The picture in words, for who hears it."""
    for stage, label in zip(plan.stages, labels, strict=True):
        holds = label or f"{len(stage.nodes)} nodes"
        yield f"Stage {stage.index} on {_devices(plan, stage)}: {holds}; {_sizes(stage)}."
        for send in stage.sends:
            yield f"It sends {_sent(send)} to stage {send.to}."


def _devices(plan: Plan, stage: Stage) -> str:
    return ", ".join(plan.cluster.devices[device].name for device in stage.devices)


def _sizes(stage: Stage) -> str:
    weights = f"{format_bytes(stage.param_bytes)} of weights, peak {format_bytes(stage.peak_bytes)}"
    return f"computes {format_seconds(stage.compute_s)}; {weights}"


def _sent(send: Send) -> str:
    more = f" and {len(send.values) - _NAMED} more" if len(send.values) > _NAMED else ""
    names = f" ({', '.join(send.values[:_NAMED])}{more})" if send.values else ""
    return f"{format_bytes(send.bytes)}{names}"


def _busy_s(stage: Stage) -> float:
    return max(stage.period_s, stage.compute_s + sum(send.time_s for send in stage.sends))


def _map(plan: Plan, profile: Profile, cuts: Sequence[CutExplanation], y: int) -> tuple[Html, int]:
    whole = module_tree(profile)
    shapes, height = map_shapes(whole, drawn_of(whole, plan, cuts), deepest=_MAP_ROWS)
    return element("svg", *shapes, x=_MARGIN, y=y, width=_WIDTH - 2 * _MARGIN, height=height, class_="map"), height


def _stage(plan: Plan, stage: Stage, label: str, most_s: float, y: int) -> tuple[list[Html], int]:
    """A stage's box and its height: device, modules, sizes, and a bar of what it computes and sends."""
    words = wrapped(label or f"{len(stage.nodes)} nodes", _LETTERS).split("\n")
    height = 2 * _PADDING + _LINE * (1 + len(words)) + _LINE + _BAR
    is_worst = stage.index == plan.prediction.bottleneck_stage and len(plan.stages) > 1
    width, left = _WIDTH - 2 * _MARGIN, _MARGIN + 2 * _PADDING
    right = _WIDTH - _MARGIN - _PADDING
    first = y + _PADDING + 12
    period = f"{format_seconds(stage.period_s)} an item{', the slowest' if is_worst else ''}"
    shapes = [
        element("rect", x=_MARGIN, y=y, width=width, height=height, rx=6, class_="box"),
        element("rect", x=_MARGIN, y=y, width=10, height=height, rx=3, class_=stage_class(stage.index)),
        _text(f"stage {stage.index} · {_devices(plan, stage)}", left, first, "what"),
        _text(period, right, first, "worst" if is_worst else "what", anchor="end"),
        *(_text(words[place], left, first + _LINE * (1 + place)) for place in range(len(words))),
        _text(_sizes(stage), left, first + _LINE * (1 + len(words)), "soft"),
    ]
    bar_y = y + height - _PADDING - _BAR + 4
    room = right - left
    shapes.append(element("rect", x=left, y=bar_y, width=room, height=_BAR, class_="track"))
    x = float(left)
    parts = [(stage.compute_s, stage_class(stage.index)), (sum(send.time_s for send in stage.sends), "send")]
    for seconds, class_ in parts:
        length = room * seconds / most_s if most_s > 0 else 0.0
        if length > 0:
            shapes.append(element("rect", x=f"{x:.1f}", y=bar_y, width=f"{length:.1f}", height=_BAR, class_=class_))
            x += length
    return shapes, height


def _crossing(stage: Stage, y: int) -> list[Html]:
    """The arrow to the next stage and what crosses; a gap without one where nothing does."""
    x, end = _MARGIN + 40, y + _GAP
    sends = [send for send in stage.sends if send.to == stage.index + 1]
    others = ", ".join(f"{format_bytes(send.bytes)} to stage {send.to}" for send in stage.sends if send not in sends)
    passing = [_text(others, _WIDTH - _MARGIN, y + 21, "soft", anchor="end")] if others else []
    if not sends:
        return [_text("nothing crosses here to the next stage", x + 14, y + 21, "soft"), *passing]
    (send,) = sends[:1]
    return [
        *passing,
        element("path", d=f"M{x} {y}V{end - 6}", class_="way"),
        element("path", d=f"M{x - 5} {end - 9}h10l-5 9z", class_="head"),
        _text(f"{_sent(send)} · {format_seconds(send.time_s)}", x + 14, y + 21),
    ]


def _lanes(sends: Sequence[tuple[int, Send]]) -> list[tuple[int, Send, int]]:
    """Sends that pass stages by, each with the innermost lane beside the boxes that is free all its way."""
    taken: list[list[tuple[int, int]]] = []
    placed = []
    for source, send in sorted(sends, key=lambda pair: abs(pair[1].to - pair[0])):
        low, high = sorted((source, send.to))
        lane = next((i for i, ways in enumerate(taken) if all(high <= a or b <= low for a, b in ways)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        placed.append((source, send, lane))
    return placed


def _detour(start: tuple[int, int], end: tuple[int, int], send: Send, lane: int) -> list[Html]:
    """A line beside the boxes, whose text shows when it is pointed at and is in the description too."""
    edge, x = _WIDTH - _MARGIN, _WIDTH - _MARGIN + _LANE * (lane + 1)
    top, bottom = start[0] + start[1] - 10, end[0] + 10
    told = element("title", f"{_sent(send)} to stage {send.to}")
    return [
        element("path", told, d=f"M{edge} {top}H{x}V{bottom}H{edge + 6}", class_="way"),
        element("path", d=f"M{edge + 9} {bottom - 5}v10l-9 -5z", class_="head"),
    ]


def _text(words: str, x: float, y: float, class_: str | None = None, *, anchor: str | None = None) -> Html:
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)
