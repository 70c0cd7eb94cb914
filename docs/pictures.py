"""The pictures of the planner's mathematics, drawn from the numbers that the text names."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import combinations

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Okabe and Ito's, one a stage, as in reports."""
STAGES_MS = (3, 4, 2)
"""Of the pipeline's picture."""


def pipeline() -> str:
    """Five items through three stages: once full, one comes out each time the slowest stage ends."""
    shapes, ready, free, scale, row = [], 0.0, [0.0] * len(STAGES_MS), 21.0, 38
    last = 0.0
    for item in range(5):
        ready = 0.0
        for stage, length in enumerate(STAGES_MS):
            start = max(ready, free[stage])
            ready = free[stage] = start + length
            shapes.append(
                _box(120 + start * scale, 30 + stage * row, length * scale - 2, 28, COLOURS[stage], f"{item}")
            )
        last = ready
    for stage, length in enumerate(STAGES_MS):
        shapes.append(_text(4, 49 + stage * row, f"stage {stage}: {length} ms"))
    shapes.append(_text(120, 18, "time, 1 ms a step; each number is an item"))
    end = 120 + last * scale
    shapes += [_line(end - 4 * scale, 146, end, 146), _text(end - 4 * scale - 4, 164, "period 4 ms")]
    return _svg(
        int(end) + 20, 174, shapes, "Five items through three stages of 3, 4 and 2 ms: one comes out every 4 ms"
    )


def period() -> str:
    """What a stage's period is where sending overlaps computing, and where it does not."""
    parts = (("receive", 1.6, "#8c8c8c"), ("compute", 4.0, COLOURS[0]), ("send", 1.5, COLOURS[3]))
    shapes, x = [], 220.0
    for row, (name, length, colour) in enumerate(parts):
        shapes.append(_box(220, 22 + row * 26, length * 40, 22, colour, name))
    shapes.append(_text(4, 60, "overlapping: the longest"))
    for name, length, colour in parts:
        shapes.append(_box(x, 122, length * 40 - 1, 22, colour, name))
        x += length * 40
    shapes.append(_text(4, 138, "one after the other: the sum"))
    return _svg(530, 160, shapes, "A stage's period: the longest of receive, compute and send, or their sum")


GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
"""The diamond whose downsets are drawn: what each operation reads."""


def downsets_of_graph() -> list[frozenset[str]]:
    """Every set of operations that holds whatever its members read, by size."""
    names = list(GRAPH)
    chosen = [frozenset(each) for size in range(len(names) + 1) for each in combinations(names, size)]
    return [each for each in chosen if all(set(GRAPH[name]) <= each for name in each)]


def downsets() -> str:
    """A diamond of four operations, and the six places where it may be cut."""
    places = {"a": (60, 40), "b": (25, 95), "c": (95, 95), "d": (60, 150)}
    shapes = [_line(*places[source], *places[name], arrow=True) for name, reads in GRAPH.items() for source in reads]
    shapes += [_circle(*where, name) for name, where in places.items()]
    shapes.append(_text(190, 20, "its downsets: what the stages before a cut may hold"))
    for row, each in enumerate(downsets_of_graph()):
        told = "{" + ", ".join(sorted(each)) + "}" if each else "{ }  (before the first stage)"
        shapes.append(_text(190, 46 + row * 22, told))
    return _svg(600, 185, shapes, "A diamond of four operations and its six downsets")


PICTURES: dict[str, Callable[[], str]] = {"pipeline": pipeline, "period": period, "downsets": downsets}


def _svg(width: int, height: int, shapes: list[str], told: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    arrow = (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="24" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#333"/></marker></defs>'
    )
    style = "<style>text{font:13px sans-serif;fill:#222}.in{fill:#fff}</style>"
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}<title>{escape(told)}</title>{arrow}{style}{paper}{''.join(shapes)}</svg>\n"


def _box(x: float, y: float, width: float, height: float, colour: str, text: str) -> str:
    label = f'<text class="in" x="{x + 6:.1f}" y="{y + height / 2 + 5:.1f}">{escape(text)}</text>'
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="3" fill="{colour}"/>{label}'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False) -> str:
    end = ' marker-end="url(#end)"' if arrow else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#333" stroke-width="1.5"{end}/>'


def _circle(x: float, y: float, text: str) -> str:
    shape = f'<circle cx="{x}" cy="{y}" r="14" fill="{COLOURS[0]}"/>'
    return f'{shape}<text class="in" x="{x - 4}" y="{y + 4}">{text}</text>'
