from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.result import RunResult
from partkit.reports import RENDERERS, render
from partkit.reports.sheet import Cell, Column, Sheet, Table
from partkit.reports.sheets import sheet_of
from partkit.reports.table import render_sheet

GOLDEN = Path(__file__).parent.parent / "golden"
COMPARISON = load_document(GOLDEN / "comparison.v1.json")
PLAN = load_document(GOLDEN / "plan.v1.json")
RUN = RunResult.load(GOLDEN / "run.v1.json")


@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_every_renderer_draws_every_kind_and_ends_with_one_newline(kind, form):
    text = render(load_document(GOLDEN / f"{kind}.v1.json"), form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_json_is_the_file_s_text():
    assert json.loads(render(PLAN, "json")) == PLAN.to_data()


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_csv_has_a_value_for_each_heading(kind):
    document = load_document(GOLDEN / f"{kind}.v1.json")
    heading, *rows = csv.reader(io.StringIO(render(document, "csv")))
    sheet = sheet_of(document)
    own = sheet.figures.columns if sheet.figures else ()
    assert heading == [column.key for column in (*sheet.tables[0].columns, *own)]
    assert all(len(row) == len(heading) for row in rows)


def test_csv_of_a_run_has_the_run_s_own_figures_beside_each_rank():
    rows = list(csv.DictReader(io.StringIO(render(load_document(GOLDEN / "run.v1.json"), "csv"))))
    assert [row["rank"] for row in rows] == ["0", "1"]
    assert (
        rows[0].items()
        >= {
            "executor": "pipeline",
            "items": "1000",
            "batch": "1",
            "samples_per_s": str(RUN.samples_per_s),
            "steady_samples_per_s": str(RUN.steady_samples_per_s),
            "latency_p50_s": str(RUN.latency_s.p50),
            "latency_p95_s": str(RUN.latency_s.p95),
            "bottleneck_efficiency": str(RUN.bottleneck_efficiency),
            "prediction_error": str(RUN.prediction_error),
            "check_passed": "True",
            "max_abs_diff": str(RUN.check.max_abs_diff),
        }.items()
    )
    without_ranks = RUN.model_copy(update={"ranks": ()})
    (only,) = csv.DictReader(io.StringIO(render(without_ranks, "csv")))
    assert (only["rank"], only["items"]) == ("", "1000")


@pytest.mark.parametrize(
    ("efficiency", "words"),
    [
        (0.984, "the slowest stage works 98.4% of the time"),
        (1.002, "the slowest stage works all the time"),
        (1.269, "the slowest stage works all the time, and was 26.9% slower when timed before the run"),
    ],
)
def test_no_stage_works_more_than_all_the_time(efficiency, words):
    result = RUN.model_copy(update={"bottleneck_efficiency": efficiency, "prediction_error": None})
    assert words in sheet_of(result).notes


def test_csv_has_plain_numbers():
    rows = list(csv.DictReader(io.StringIO(render(COMPARISON, "csv"))))
    assert rows[0] == {
        "executor": "pipeline",
        "status": "ok",
        "samples_per_s": "2301.5",
        "ci95_samples_per_s": "2290.0 2312.5",
        "per_rank_samples_per_s": "",
        "latency_p50_s": "0.00052",
        "busy": "",
        "gpu_util_max_percent": "100.0 97.0",
        "gpu_util_mean_percent": "96.0 96.0",
        "peak_bytes": "12000000 22000000",
        "max_abs_diff": "2.5e-06",
    }


def test_markdown_is_a_table_with_alignment_and_sentences_as_paragraphs():
    assert render(PLAN, "markdown") == (
        "| stage | device | modules | params | peak | compute | sends |\n"
        "| ---: | ---: | :--- | ---: | ---: | ---: | :--- |\n"
        "| 0 | 0 | embeddings, layer.0 | 10.9 MB | 11.3 MB | 108 µs | 328 kB -> 1 |\n"
        "| 1 | 1 | layer.1, predictions | 10.9 MB | 21.8 MB | 99.7 µs |  |\n"
        "\n"
        "bottleneck stage 1 (407 µs) · lower bound 402 µs · within 1.2% of the best possible\n"
        "\n"
        "predicted 2,458 samples/s   (even layers 2,041 · by parameters 1,740)\n"
    )


SHEET = Sheet(
    tables=(
        Table(
            (Column("n", "n"), Column("words", "words", is_number=False, may_wrap=True), Column("none", "none")),
            ((Cell("1,000", 1000), Cell("one two three four five six seven", "x"), Cell("–", None)),),
        ),
    ),
    heading="[bold]not markup[/bold]",
    notes=("a note that is broken between words in a terminal alone, so that what is piped can be searched for",),
)


def test_words_wrap_in_a_narrow_terminal_and_figures_never_do():
    assert render_sheet(SHEET, width=32) == (
        "[bold]not markup[/bold]\n"
        "    n  words\n"
        "1,000  one two three four five\n"
        "       six seven\n"
        "a note that is broken between\n"
        "  words in a terminal alone, so\n"
        "  that what is piped can be\n"
        "  searched for\n"
    )
    assert render_sheet(SHEET).endswith(
        "a note that is broken between words in a terminal alone, so that what is piped can be searched for\n"
    )


def test_columns_without_any_value_are_left_out_for_people():
    assert "none" not in render_sheet(SHEET)


def test_colour_is_used_only_when_asked_for():
    assert "\x1b[" not in render_sheet(SHEET)
    assert "\x1b[1m" in render_sheet(SHEET, colour=True)


HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e\nVALID"


FREE = (
    *("source", "name", "module", "modules", "executor", "reason", "reasons", "warnings", "error", "device", "host"),
    *("what", "path", "before", "after", "only_before", "text"),
)
"""Keys whose texts a file's author may choose."""


_CHOICES = ("gloo", "copies", "nccl", "host")
"""Of a path between two devices, where the format allows these only."""


def _hostile(value, *, is_free=False):
    if isinstance(value, dict):
        return {key: _hostile(inner, is_free=key in FREE) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hostile(inner, is_free=is_free) for inner in value]
    return f"{value}{HOSTILE}" if is_free and isinstance(value, str) and value not in _CHOICES else value


@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_no_renderer_passes_on_what_a_terminal_would_obey(tmp_path, kind, form):
    data = load_document(GOLDEN / f"{kind}.v1.json").to_data()
    if kind == "profile":
        data |= {"edges": []}  # which name nodes
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(_hostile(data)))
    text = render(load_document(path), form)
    assert "owned" in text or kind in ("calibration", "simulation"), "tables of these have names in their heading only"
    assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert "VALID" not in text.splitlines()


def test_a_run_tells_what_was_loaded_and_how_fast_the_slowest_rank_was_done():
    ranks = tuple(
        rank.model_copy(update={"loaded_bytes": 6_000_000_000, "load_s": 2.0 + index})
        for index, rank in enumerate(RUN.ranks)
    )
    told = "12 GB of weights loaded in 3 s (4 GB/s)"
    assert told in render(RUN.model_copy(update={"ranks": ranks}), "table")
    assert "weights loaded" not in render(RUN, "table")
