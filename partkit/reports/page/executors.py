"""Throughput with its interval, latency, devices' use and memory of each executor; failures with their reasons."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.result import Comparison, RankUse, Row, RunResult
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.reports.page.charts import bar, line_chart
from partkit.reports.page.contents import Contents
from partkit.reports.page.html import (
    Child,
    Html,
    Section,
    captioned,
    element,
    folded,
    joined,
    section,
    sheet_html,
    wide,
)
from partkit.reports.sheets import sheet_of


def executors_html(contents: Contents) -> Section | None:
    """The bars of every comparison; None without any."""
    if not contents.comparisons:
        return None
    shown = [_comparison(name, comparison) for name, comparison in contents.comparisons]
    return section("executors", "Throughput and latency", *shown)


def use_html(contents: Contents) -> Section | None:
    """How busy ranks and GPUs were."""
    rows: list[Html] = []
    for name, comparison in contents.comparisons:
        for row in comparison.rows:
            uses = {
                "busy": [100 * busy for busy in row.busy],
                "GPU mean": row.gpu_util_mean,
                "GPU max": row.gpu_util_max,
            }
            for what, percents in uses.items():
                rows += [
                    _use(f"{row.executor}, {name}", index, what, percent) for index, percent in enumerate(percents)
                ]
    for name, result in contents.runs:
        for rank in result.ranks:
            figures = (("busy", 100 * rank.busy), ("GPU mean", rank.gpu_util_mean), ("GPU max", rank.gpu_util_max))
            rows += [
                _use(f"{result.executor}, {name}", rank.rank, what, percent)
                for what, percent in figures
                if percent is not None
            ]
    if not rows:
        return None
    table = _table("Share of time", ("executor", "rank", "figure", "share", ""), rows)
    over_time = [
        _over_time(f"{result.executor}, {name}", rank)
        for name, result in contents.runs
        for rank in result.ranks
        if len(rank.gpu_util_over_time) > 1
    ]
    later = _table("GPU use over the run", ("executor", "device", ""), over_time) if over_time else None
    note = "busy: the share of the measured time in which the rank computed; GPU: utilisation as NVML reports it."
    return section("use", "Use of devices", element("p", note, class_="note"), table, later)


def _over_time(name: str, rank: RankUse) -> Html:
    """A line from the run's beginning to its end, on a scale from 0 to 100%."""
    uses = rank.gpu_util_over_time
    told = f"{name}, {rank.device}: from {min(uses):.0f}% to {max(uses):.0f}%"
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", rank.device),
        element("td", line_chart(uses, 100.0, told), class_="plot"),
    )


def _comparison(name: str, comparison: Comparison) -> Html:
    rows = sorted(comparison.rows, key=lambda row: -(row.samples_per_s or 0.0))
    ends = [row.ci95[1] if row.ci95 else row.samples_per_s or 0.0 for row in rows]
    most_rate = max(ends, default=0.0)
    most_latency = max((row.latency_p50_s or 0.0 for row in rows), default=0.0)
    reasons = [
        element("li", element("b", f"{row.executor} {row.status}"), f": {row.reason}") for row in rows if row.reason
    ]
    remarks = [element("li", element("b", row.executor), f": {row.note}") for row in rows if row.note]
    sheet = sheet_of(comparison)
    return joined(
        element("h3", f"{sheet.heading} · {name}"),
        _table(
            "Throughput, samples/s, with 95% intervals",
            ("executor", "samples/s", "95% interval", ""),
            [_rate(row, most_rate) for row in rows],
        ),
        _table(
            "Latency of one item, median; a comparison keeps no interval of it",
            ("executor", "latency p50", ""),
            [_latency(row, most_latency) for row in rows if row.latency_p50_s is not None],
        ),
        element("ul", *reasons, *remarks, class_="reasons") if reasons or remarks else None,
        folded("All figures", sheet_html(sheet, f"All figures of {name}", sortable=True)),
    )


def _rate(row: Row, most: float) -> Html:
    if row.samples_per_s is None:
        return _row(row.executor, "–", "–", element("span", row.status, class_="status"))
    rate = format_rate(row.samples_per_s)
    interval = " to ".join(format_rate(end) for end in row.ci95 or ()) or "–"
    wrong = row.status == "invalid"
    label = f"{row.executor}: {rate} samples/s, 95% interval {interval}{', outputs differ' if wrong else ''}"
    chart = bar(row.samples_per_s, most, label, class_="wrong" if wrong else "", interval=row.ci95)
    name = f"{row.executor} (invalid)" if wrong else row.executor
    return _row(name, rate, interval, chart)


def _latency(row: Row, most: float) -> Html:
    seconds = row.latency_p50_s or 0.0
    shown = format_seconds(seconds)
    return _row(row.executor, shown, bar(seconds, most, f"{row.executor}: {shown}"))


def runs_html(contents: Contents) -> Section | None:
    """Every run's own figures, with the range from median to 95th percentile of its latency."""
    if not contents.runs:
        return None
    most = max(result.latency_s.p95 for _, result in contents.runs)
    rows = [_run_latency(name, result, most) for name, result in contents.runs]
    tables = [
        folded(f"All figures of {name}", sheet_html(sheet_of(result), f"Figures of {name}"))
        for name, result in contents.runs
    ]
    heads = ("run", "samples/s", "steady", "latency p50", "p95", "peak memory", "p50 to p95")
    return section("runs", "Runs", _table("Speed of each run", heads, rows), *tables)


def _run_latency(name: str, result: RunResult, most: float) -> Html:
    p50, p95 = result.latency_s.p50, result.latency_s.p95
    label = f"latency {format_seconds(p50)}, 95th percentile {format_seconds(p95)}"
    peak = max((rank.peak_bytes for rank in result.ranks), default=0)
    return _row(
        f"{name} ({result.executor})",
        format_rate(result.samples_per_s),
        format_rate(result.steady_samples_per_s),
        format_seconds(p50),
        format_seconds(p95),
        format_bytes(peak),
        bar(p50, most, label, interval=(p50, p95)),
    )


def _use(executor: str, rank: int, what: str, percent: float) -> Html:
    shown = f"{percent:.0f}%"
    return _row(executor, str(rank), what, shown, bar(percent, 100.0, f"{executor}, rank {rank}: {what} {shown}"))


def _row(*cells: Child) -> Html:
    first, *others = cells
    last = len(others) - 1
    tds = [element("td", cell, class_="plot" if place == last else "n") for place, cell in enumerate(others)]
    return element("tr", element("th", first, scope="row"), *tds)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Html]) -> Html:
    cells = [
        element("th", head, scope="col", class_="n")
        if head and place
        else element("th", head or "chart", scope="col", class_=None if head else "unseen")
        for place, head in enumerate(heads)
    ]
    table = element(
        "table",
        captioned(caption),
        element("thead", element("tr", *cells)),
        element("tbody", *rows),
        class_="bars",
    )
    return wide(table, label=caption)
