"""Bars and intervals as SVG that takes the width it is given: lengths are percentages, so no script lays them out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from partkit.reports.colours import STAGE_COLOURS
from partkit.reports.page.html import Html, element


def stage_class(stage: int) -> str:
    """The class that gives an element its stage's colour."""
    return f"s{stage % len(STAGE_COLOURS)}"


def chip(stage: int) -> Html:
    """A stage's number in its colour, which is never all that tells it."""
    return element("span", str(stage), class_=f"chip {stage_class(stage)}", title=f"stage {stage}")


def bar(
    value: float, most: float, label: str, *, class_: str = "", interval: tuple[float, float] | None = None
) -> Html:
    """A bar of ``value`` on a scale from 0 to ``most``, its interval as a whisker; ``label`` is for who hears it."""
    shapes = [element("rect", x="0", y="3", width=_share(value, most), height="12", class_=f"bar {class_}".strip())]
    if interval is not None:
        low, high = (_share(end, most) for end in interval)
        shapes.append(element("line", x1=low, x2=high, y1="9", y2="9", class_="whisker"))
        shapes += [element("line", x1=end, x2=end, y1="4", y2="14", class_="whisker") for end in (low, high)]
    return _chart(shapes, label)


def segments(parts: Sequence[tuple[float, str]], most: float, label: str) -> Html:
    """Lengths one after the other, each with its class."""
    shapes, start = [], 0.0
    for value, class_ in parts:
        if value > 0:
            shapes.append(
                element("rect", x=_share(start, most), y="3", width=_share(value, most), height="12", class_=class_)
            )
            start += value
    return _chart(shapes, label)


def line_chart(values: Sequence[float], most: float, label: str) -> Html:
    """Two or more values at equal distances, on a scale from 0 to ``most``."""
    steps = [
        element(
            "line",
            x1=percent(place / (len(values) - 1)),
            x2=percent((place + 1) / (len(values) - 1)),
            y1=f"{17 - 16 * min(before / most, 1.0):.3g}",
            y2=f"{17 - 16 * min(after / most, 1.0):.3g}",
            class_="course",
        )
        for place, (before, after) in enumerate(itertools.pairwise(values))
    ]
    return _chart(steps, label)


def _chart(shapes: Sequence[Html], label: str) -> Html:
    return element("svg", *shapes, class_="chart", role="img", aria_label=label, height="18", width="100%")


def _share(value: float, most: float) -> str:
    return percent(value / most if most > 0 else 0.0)


def percent(share: float) -> str:
    """A share as SVG and CSS take it.

    >>> percent(0.125), percent(1)
    ('12.5%', '100%')
    """
    return f"{100 * min(max(share, 0.0), 1.0):.4g}%"
