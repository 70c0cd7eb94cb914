from __future__ import annotations

import base64
import hashlib
import json

import pytest

from partkit.data.cluster import Cluster
from partkit.data.files import load_document
from partkit.data.result import Comparison, Row, StageIdle
from partkit.data.timeline import Event
from partkit.reports.page import page_html
from partkit.reports.page.timeline import timelines_html

from .documents import COMPARISON, GOLDEN, HOSTILE, PLAN, PROFILE, RUN, contents, hostile, large, layered, whole
from .reading import Reader

PAGE = page_html(whole())
READ = Reader(PAGE)
SECTIONS = [
    "verdict",
    "executors",
    "runs",
    "stages",
    "model",
    "bound",
    "modules",
    "use",
    "links",
    "environment",
    "data",
]


def sections(read: Reader) -> list[str]:
    return [each.attributes["id"] for each in read.find("section")]


def links(read: Reader) -> set[str]:
    return {each.attributes["href"] for each in read.elements if "href" in each.attributes}


def test_a_page_of_everything_has_every_section_with_the_verdict_first() -> None:
    assert READ.faults == []
    assert sections(READ) == SECTIONS
    assert READ.find("html", lang="en")
    assert READ.find("title")[0].text == "partkit: bert-tiny"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([COMPARISON], ["verdict", "executors", "model", "use", "environment", "data"]),
        ([RUN], ["verdict", "runs", "stages", "model", "use", "environment", "data"]),
        ([PLAN], ["verdict", "stages", "model", "bound", "links", "environment", "data"]),
        ([PROFILE], ["verdict", "model", "modules", "environment", "data"]),
        ([Cluster.load(GOLDEN / "cluster.v1.json")], ["verdict", "model", "links", "environment", "data"]),
        ([RUN, COMPARISON], ["verdict", "executors", "runs", "stages", "model", "use", "environment", "data"]),
    ],
)
def test_any_mix_of_files_makes_a_page_of_what_they_hold(documents, expected) -> None:
    read = Reader(page_html(contents(*documents)))
    assert (read.faults, sections(read)) == ([], expected)


def test_names_of_elements_are_unique_and_whatever_refers_to_one_finds_it() -> None:
    names = [each.attributes["id"] for each in READ.elements if "id" in each.attributes]
    assert len(set(names)) == len(names)
    assert {name[1:] for name in links(READ) if name.startswith("#")} == set(SECTIONS)
    labels = {each.attributes["aria-labelledby"] for each in READ.elements if "aria-labelledby" in each.attributes}
    assert labels <= set(names)


def test_nothing_is_fetched_and_no_script_but_ours_may_run() -> None:
    assert {name for name in links(READ) if not name.startswith("#")} == {"data:,"}
    assert not [each for each in READ.elements if {"src", "srcset", "action", "poster"} & each.attributes.keys()]
    (style,) = READ.find("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    (script,) = [each for each in READ.find("script") if "type" not in each.attributes]
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    (policy,) = [each.attributes["content"] for each in READ.find("meta") if "http-equiv" in each.attributes]
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_names_from_files_become_no_markup_anywhere() -> None:
    spoilt = Reader(page_html(hostile()))
    assert spoilt.faults == []
    count = {tag: len(READ.find(tag)) for tag in ("script", "section", "a", "button", "input", "style", "meta", "link")}
    assert {tag: len(spoilt.find(tag)) for tag in count} == count
    assert not spoilt.find("img")
    assert not spoilt.find("b", style="x")
    attributes = {name for each in spoilt.elements for name in each.attributes}
    assert attributes == {name for each in READ.elements for name in each.attributes}
    assert "\x1b" not in page_html(hostile())
    assert "\u202e" not in page_html(hostile())
    assert HOSTILE.split("\u202e")[0] in spoilt.section("verdict")
    for place, part in enumerate(hostile().parts):
        assert json.loads(spoilt.find("script", id=f"data-{place}")[0].text) == part.document.to_data()


def test_the_files_are_embedded_whole() -> None:
    for place, document in enumerate((COMPARISON, RUN, PLAN, PROFILE)):
        (script,) = READ.find("script", id=f"data-{place}")
        assert script.attributes["type"] == "application/json"
        assert json.loads(script.text) == document.to_data()


def test_the_verdict_says_what_to_do_and_that_figures_may_not_be_trusted() -> None:
    text = READ.section("verdict")
    assert text.startswith("VerdictSplit it in 2.Best for throughput: pipeline. Best for latency: pipeline. ")
    assert "INVALID: fsdp's outputs differ. From comparison.json." in text
    assert "pipeline: 2,302 samples/s · steady 2,410 · latency p50 520 µs, p95 610 µs" in text
    assert "warning: an example, measured nowhere" in text


def test_bars_have_the_documents_figures_and_lengths() -> None:
    labels = [each.attributes["aria-label"] for each in READ.find("svg", role="img")]
    assert labels[:6] == [
        "pipeline: 2,302 samples/s, 95% interval 2,290 to 2,312",
        "single: 1,500 samples/s, 95% interval 1,490 to 1,510",
        "fsdp: 900 samples/s, 95% interval 890 to 910, outputs differ",
        "pipeline: 520 µs",
        "single: 670 µs",
        "latency 520 µs, 95th percentile 610 µs",
    ]
    bars = [
        each.attributes["width"] for each in READ.find("rect") if each.attributes.get("class", "").startswith("bar")
    ]
    most = COMPARISON.rows[0].ci95[1]
    assert bars[:3] == [f"{100 * row.samples_per_s / most:.4g}%" for row in COMPARISON.rows[:3]]
    reasons = "".join(each.text for each in READ.find("ul", class_="reasons"))
    assert "fsdp invalid: outputs differ by 0.3, tolerance 0.0001" in reasons
    assert "deepspeed unsupported: deepspeed is not installed" in reasons


def test_a_recorded_run_has_its_timeline_shares_and_use_over_time() -> None:
    events = [
        Event(stage=0, track="compute", item=0, begin_s=0.0, end_s=1.0),
        Event(stage=1, track="idle", item=0, begin_s=0.0, end_s=1.0, cause="input"),
        Event(stage=1, track="compute", item=0, begin_s=1.0, end_s=4.0),
    ]
    idle = [StageIdle(index=stage, busy=0.25, input=0.5, slot=0.25, send=0.0) for stage in (0, 1)]
    ranks = [rank.model_copy(update={"gpu_util_over_time": (50.0, 100.0, 0.0)}) for rank in RUN.ranks]
    run = RUN.model_copy(update={"timeline": tuple(events), "idle": tuple(idle), "ranks": tuple(ranks)})
    page = Reader(page_html(contents(run)))
    drawn = [each for each in page.find("rect") if each.attributes.get("class", "").startswith(("turn", "wait"))]
    assert [(each.attributes["class"], each.attributes["x"], each.attributes["width"]) for each in drawn] == [
        ("turn s0", "0%", "25%"),
        ("wait input", "0%", "25%"),
        ("turn s1", "25%", "75%"),
    ]
    assert "50.0%" in page.section("timeline")
    lines = [each for each in page.find("line") if each.attributes.get("class") == "course"]
    assert len(lines) == 2 * len(ranks)
    assert "cuda:0: from 0% to 100%" in "".join(each.attributes["aria-label"] for each in page.find("svg", role="img"))
    assert timelines_html(contents(RUN)) is None, "a run that was not recorded"


def test_the_cuts_are_told_with_their_bytes_and_what_moving_them_would_do() -> None:
    assert "cut 0 | 1: 328 kB cross (embedding, gelu)" in READ.section("model")
    text = READ.section("bound")
    assert "bottleneck stage 1 (407 µs) · lower bound 402 µs · within 1.2% of the best possible" in text
    assert "Bound proved by ideals." in text
    assert "290 µs, -28.7% (gelu)239 µs, -41.2% (linear_1)" in text


def test_an_executor_without_figures_has_its_status_for_a_bar() -> None:
    row = next(each.text for each in READ.find("tr") if each.text.startswith("deepspeed"))
    assert row == "deepspeed––unsupported"


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("/a/cli/partkit_cli/__main__.py compare bert '-o' 'my file'", "partkit compare bert '-o' 'my file'"),
        ("/usr/bin/partkit plan bert", "partkit plan bert"),
        ("bench.py --quick", "bench.py --quick"),
    ],
)
def test_commands_are_shown_as_they_are_typed(recorded, shown) -> None:
    (code,) = Reader(page_html(contents(RUN.model_copy(update={"environment": {"command": recorded}})))).find("code")
    assert code.text == shown


def test_the_environment_is_told_and_where_no_command_is_recorded() -> None:
    assert READ.section("environment").startswith(
        "Commands and environmentcomparison.jsonIts command is not recorded.Environment of comparison.jsontorch2.13.0"
    )


def test_a_plan_whose_profile_is_not_here_says_how_to_get_it() -> None:
    read = Reader(page_html(contents(PLAN)))
    assert read.section("model").endswith(
        "The plan's profile is neither among the files nor kept on this machine: name its file too, or measure one "
        "with 'partkit profile bert-tiny -o FILE'."
    )
    assert "What moving a cut would do needs the plan's profile, which is not here." in read.section("bound")


def test_files_of_several_models_are_not_set_beside_each_other_unsaid() -> None:
    other = COMPARISON.model_copy(update={"model": COMPARISON.model.model_copy(update={"source": "gpt2"})})
    text = Reader(page_html(contents(other, PROFILE))).section("verdict")
    assert "These files are of 2 models or shapes, not to be set beside each other: gpt2 float32" in text
    assert "Several models" not in READ.section("verdict")


def test_a_difference_is_told_in_words_and_value_by_value() -> None:
    read = Reader(page_html(contents(load_document(GOLDEN / "difference.v1.json"))))
    assert read.faults == []
    assert "Predicted 5,000 samples/s instead of 2,458" in read.section("verdict")
    assert "stage 0 compute108 µs54.2 µs-50%" in read.section("differences")


def test_bert_with_seven_executors_is_under_half_a_megabyte() -> None:
    rows = tuple(
        Row(
            executor=f"executor{index}",
            status="ok",
            samples_per_s=10.0,
            ci95=(9.0, 11.0),
            latency_p50_s=0.1,
            busy=(0.5,) * 4,
        )
        for index in range(7)
    )
    profile, plan = layered(12, 23)
    page = page_html(contents(Comparison(valid=True, model=PROFILE.model, devices=4, rows=rows), plan, profile))
    assert len(page.encode()) < 500_000
    assert "12 alike" in page
    assert page.count('<div class="cut">') == 3


def test_twenty_thousand_nodes_are_drawn_as_modules_in_a_page_as_small() -> None:
    plan, page = large()
    read = Reader(page)
    assert read.faults == []
    assert len(page.encode()) < 1_000_000
    assert "Of so many only modules are drawn" in read.section("model")
    assert "400 alike" in read.section("model")
    assert len(read.find("details")) + len(read.find("div", class_="node")) < 2000
    assert f"too large to embed, with digest {plan.profile_sha256}" in read.section("data")
    for cut in range(3):
        assert f"cut {cut} | {cut + 1}: 393 kB cross" in read.section("model")
