"""When each stage computed and what it waited for: the beginning of recorded runs, and shares of the whole."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.result import RunResult, StageIdle
from partkit.data.timeline import CAUSE_WORDS, CAUSES, Event
from partkit.data.units import format_seconds
from partkit.reports.page.charts import chip, percent, segments, stage_class
from partkit.reports.page.contents import Contents
from partkit.reports.page.html import Html, Section, captioned, element, joined, section, wide

_MOST_EVENTS = 600
"""Drawn of one run: the file holds them all."""


def timelines_html(contents: Contents) -> Section | None:
    """Each recorded run's stages over time, and a table of what they did with it."""
    shown = [_timeline(name, result) for name, result in contents.runs if result.timeline or result.idle]
    if not shown:
        return None
    note = (
        "Recorded in a run of its own beside the measured one. In colour: a stage computes an item; pale: it waits for "
        "its input; grey: it waits for a slot downstream. 'partkit run PLAN --trace FILE' writes all of it for "
        "ui.perfetto.dev."
    )
    return section("timeline", "Timeline", element("p", note, class_="note"), *shown)


def _timeline(name: str, result: RunResult) -> Html:
    drawn = _drawn(name, result.timeline[:_MOST_EVENTS]) if result.timeline else None
    return joined(element("h3", name), drawn, _shares(name, result.idle) if result.idle else None)


def _drawn(name: str, events: Sequence[Event]) -> Html:
    """A row for each place, from the first event to the last."""
    begin, end = min(event.begin_s for event in events), max(event.end_s for event in events)
    span = end - begin or 1.0
    places = sorted({(event.stage, event.replica) for event in events})
    rows = []
    for place in places:
        shapes = [
            element(
                "rect",
                element("title", _words(event)),
                x=percent((event.begin_s - begin) / span),
                y="2",
                width=percent((event.end_s - event.begin_s) / span),
                height="14",
                class_=f"turn {stage_class(event.stage)}" if event.track == "compute" else f"wait {event.cause}",
            )
            for event in events
            if (event.stage, event.replica) == place and event.track != "send"
        ]
        label = f"stage {place[0]}" + (f", replica {place[1]}" if place[1] else "")
        told = f"{label}: {sum(event.track == 'compute' for event in events if event.stage == place[0])} items"
        chart = element("svg", *shapes, class_="chart", role="img", aria_label=told, height="18", width="100%")
        rows.append(
            element("tr", element("th", chip(place[0]), label, scope="row"), element("td", chart, class_="plot over"))
        )
    caption = f"The first {format_seconds(span)} of {name}"
    return wide(element("table", captioned(caption), element("tbody", *rows), class_="bars"), label=caption)


def _words(event: Event) -> str:
    seconds = format_seconds(event.end_s - event.begin_s)
    return f"item {event.item}: {seconds}" if event.cause is None else f"{CAUSE_WORDS[event.cause]}: {seconds}"


def _shares(name: str, idle: Sequence[StageIdle]) -> Html:
    head = ["stage", "computes", *(CAUSE_WORDS[cause] for cause in CAUSES), ""]
    rows = []
    for stage in idle:
        values = [stage.busy, stage.input, stage.slot, stage.send]
        parts = [
            (stage.busy, f"bar {stage_class(stage.index)}"),
            (stage.slot + stage.send, "receive"),
            (stage.input, "idle"),
        ]
        cells = [element("td", f"{100 * value:.1f}%", class_="n") for value in values]
        plot = element(
            "td", segments(parts, 1.0, f"stage {stage.index} computes {100 * stage.busy:.0f}%"), class_="plot"
        )
        rows.append(element("tr", element("th", chip(stage.index), scope="row"), *cells, plot))
    caption = f"What stages of {name} did with their time, the pipeline full"
    columns = [element("th", title, scope="col") for title in head]
    body = [element("thead", element("tr", *columns)), element("tbody", *rows)]
    return wide(element("table", captioned(caption), *body, class_="bars"), label=caption)
