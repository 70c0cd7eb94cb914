"""Reports in headless Chromium: nothing is fetched or complained of, what the script does works, nothing overlaps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from partkit.reports.page import page_html
from partkit_cli.main import main

from .browser import A4, CHROMIUM, NARROW, WIDE, chromium, opened
from .documents import COMPARISON, RUN, contents, hostile, large, layered, whole

pytest.importorskip("playwright", reason="drives Chromium: pip install playwright axe-playwright-python")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SECTIONS = {
    "Verdict",
    "Throughput and latency",
    "Stages: predicted and measured",
    "The model and its cuts",
    "The bound and the cuts",
    "Modules",
    "Use of devices",
    "Devices and links",
    "Commands and environment",
    "Data",
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """The report of a comparison of this machine's CPU, by the command that people type."""
    folder = tmp_path_factory.mktemp("real")
    asked = ("compare", "bert-tiny", "--stages", "2", "--seq", "32", "--device", "cpu")
    short = ("--with", "single,pipeline,accelerate", "--rounds", "2", "--seconds", "0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with pytest.raises(SystemExit) as stop:
            main([*asked, *short, "--html", "report.html"])
    assert stop.value.code == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The report of the golden files, whose figures are known."""
    return written(page_html(whole()), tmp_path_factory.mktemp("made"))


def written(page: str, folder: Path) -> Path:
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    return file


def test_a_real_report_offline_asks_for_nothing_complains_of_nothing_and_has_each_section(browser, real):
    with opened(browser, real) as view:
        assert view.asked == [real.as_uri()]
        assert view.told == []
        headings = view.page.locator("main h2")
        assert set(headings.all_text_contents()) == SECTIONS
        assert all(heading.is_visible() for heading in headings.all())
        assert "pipeline" in view.page.locator("#verdict").inner_text()
        anchors = view.page.locator("nav a").evaluate_all("links => links.map(link => link.hash.slice(1))")
        assert anchors == view.page.locator("main section").evaluate_all("sections => sections.map(each => each.id)")


def test_a_real_report_s_modules_sort_by_time_both_ways_from_the_keyboard(browser, real):
    with opened(browser, real) as view:
        table = view.page.locator("#modules table.sortable").first
        head = table.locator("thead th", has_text=re.compile("^time"))
        column = head.evaluate("head => head.cellIndex + 1")

        def times() -> list[float]:
            cells = table.locator(f"tbody tr > :nth-child({column})")
            return cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.v))")

        unsorted = times()
        head.locator("button").focus()
        view.page.keyboard.press("Enter")
        assert times() == sorted(unsorted, reverse=True) != unsorted
        assert head.get_attribute("aria-sort") == "descending"
        view.page.keyboard.press("Enter")
        assert times() == sorted(unsorted)
        assert head.get_attribute("aria-sort") == "ascending"


def test_a_real_report_s_model_unfolds_and_folds(browser, real):
    with opened(browser, real) as view:
        view.page.get_by_role("button", name="Fold all", exact=True).click()
        operations = view.page.locator(".boxes .node")
        assert operations.count() > 20
        assert not any(each.is_visible() for each in operations.all())
        view.page.locator(".boxes summary").first.click()
        assert view.page.locator(".boxes details[open]").count() == 1
        view.page.get_by_role("button", name="Unfold all", exact=True).click()
        assert all(each.is_visible() for each in operations.all())
        assert view.overlaps() == []


def test_a_real_report_shows_all_without_a_script(browser, real):
    with opened(browser, real, java_script_enabled=False) as view:
        assert view.page.locator(".finder").is_hidden()
        assert "samples/s" in view.page.locator("#executors").inner_text()
        closed = view.page.locator(".boxes details:not([open]) > summary").first
        closed.click()
        assert view.told == []


@pytest.mark.parametrize(
    ("size", "options"),
    [
        pytest.param(WIDE, {}, id="light"),
        pytest.param(WIDE, {"color_scheme": "dark"}, id="dark"),
        pytest.param(WIDE, {"forced_colors": "active"}, id="few colours"),
        pytest.param(NARROW, {}, id="360 pixels"),
        pytest.param(NARROW, {"color_scheme": "dark"}, id="360 pixels, dark"),
    ],
)
def test_in_a_real_report_no_text_stands_on_another_and_axe_finds_no_serious_fault(browser, real, size, options):
    with opened(browser, real, size, **options) as view:
        assert view.width_beyond() == 0
        assert view.overlaps() == []
        assert view.faults() == []


def test_a_real_report_prints_on_white_without_overlap_with_what_is_folded(browser, real):
    with opened(browser, real, A4, color_scheme="dark") as view:
        assert background(view) != "rgb(255, 255, 255)"
        view.page.emulate_media(media="print")
        view.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert view.page.locator("details:not(.box):not([open])").count() == 0
        assert background(view) == "rgb(255, 255, 255)"
        assert view.width_beyond() == 0
        assert view.overlaps() == []
        assert view.page.pdf(format="A4").startswith(b"%PDF")


def background(view) -> str:
    return view.page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_names_from_files_run_nothing(browser, tmp_path):
    page = page_html(hostile())
    with opened(browser, written(page, tmp_path)) as view:
        assert view.told == []
        assert len(view.asked) == 1
        assert view.page.locator("script").count() == page.count("<script") == 5
        assert view.page.locator("img").count() == 0


def test_search_shows_what_it_finds_unfolded_and_gives_all_back(browser, made):
    with opened(browser, made) as view:
        search, found = view.page.get_by_role("searchbox"), view.page.locator(".found")
        names = view.page.locator(".boxes .node:not(.away) > .name")
        search.fill("gelu")
        assert (names.all_text_contents(), found.inner_text()) == (["gelu"], "1 found")
        assert names.first.is_visible()
        search.fill("no such thing")
        assert (names.count(), found.inner_text()) == (0, "0 found")
        search.fill("")
        assert names.count() == 6


def test_colour_by_time_shades_what_takes_long(browser, made):
    with opened(browser, made) as view:
        decoder = view.page.locator(".boxes .node").last
        by_stage = decoder.evaluate("node => getComputedStyle(node).backgroundColor")
        view.page.get_by_label("time", exact=True).check()
        assert decoder.evaluate("node => getComputedStyle(node).backgroundColor") != by_stage


def test_the_embedded_files_are_saved_under_their_names(browser, made):
    with opened(browser, made) as view, view.page.expect_download() as download:
        view.page.locator(".save").first.click()
    assert download.value.suggested_filename == "comparison.json"


def test_a_page_of_bert_s_size_in_four_stages_overflows_and_overlaps_nowhere(browser, tmp_path):
    profile, plan = layered(12, 23)
    file = written(page_html(contents(COMPARISON, RUN, plan, profile)), tmp_path)
    for size in (WIDE, NARROW):
        with opened(browser, file, size) as view:
            assert "Runs" in view.page.locator("main h2").all_text_contents()
            assert (view.width_beyond(), view.overlaps()) == (0, [])


def test_what_the_other_tests_look_for_is_seen_where_it_is(browser, made):
    with opened(browser, made) as view:
        view.page.add_style_tag(content="h2{margin-bottom:-3rem} main{width:1400px} p{color:#999}")
        assert any(found.startswith("Verdict | ") for found in view.overlaps())
        assert view.width_beyond() > 0
        assert [fault.partition(":")[0] for fault in view.faults()] == ["color-contrast"]
        view.page.evaluate("console.error('told'); fetch('https://example.invalid/').catch(() => null)")
        assert "told" in view.told


@pytest.fixture(scope="module")
def huge(tmp_path_factory) -> Path:
    """The report of a plan of 20,000 operations."""
    return written(large()[1], tmp_path_factory.mktemp("huge"))


def test_a_model_of_20_000_operations_unfolds_down_to_each_of_them(browser, huge):
    with opened(browser, huge) as view:
        elements = view.page.locator("*")
        assert elements.count() < 12_000
        assert view.page.locator(".boxes .node").count() == 0
        layer = view.page.locator(".boxes details[title*='layer.7:']")
        layer.locator("summary").first.click()
        layer.locator(".node").first.wait_for(state="attached", timeout=5000)
        names = layer.locator(".node > .name").all_text_contents()
        assert names == [f"linear_7_{place}" for place in range(50)]
        view.page.get_by_role("button", name="Unfold all", exact=True).click()
        assert elements.count() < 13_000, "what was never asked for is not made"
        assert view.told == []


def test_a_search_finds_each_of_20_000_operations_wherever_it_is_folded_away(browser, huge):
    with opened(browser, huge) as view:
        search, found = view.page.locator(".search").first, view.page.locator(".found").first
        search.fill("linear_250_49")
        view.page.locator(".boxes .node:not(.away)").first.wait_for(timeout=5000)
        assert view.page.locator(".boxes .node:not(.away) > .name").all_text_contents() == ["linear_250_49"]
        assert view.page.locator(".boxes .node:not(.away)").is_visible()
        assert found.text_content() == "1 found"
        search.fill("linear_3")
        view.page.get_by_text(re.compile("and more in [0-9]+ folded modules")).wait_for(timeout=5000)
        search.fill("")
        assert view.page.locator(".boxes .away").count() == 0
        assert view.told == []


@pytest.mark.timed
def test_no_task_of_a_page_of_20_000_operations_keeps_the_browser_for_long(browser, huge):
    """Chromium's own record of tasks of 50 ms and more, while modules are unfolded, searched and coloured."""
    with opened(browser, huge) as view:
        view.page.evaluate(
            "() => { window.long = []; new PerformanceObserver((list) => "
            "window.long.push(...list.getEntries().map((each) => each.duration)))"
            ".observe({ type: 'longtask', buffered: true }); }"
        )
        view.page.locator(".boxes details[title*='layer.7:'] summary").first.click()
        view.page.locator(".boxes .node").first.wait_for(state="attached", timeout=5000)
        view.page.locator(".search").first.fill("linear_250_49")
        view.page.locator(".boxes .node:not(.away)").first.wait_for(timeout=5000)
        view.page.locator(".by-time").first.check()
        view.page.wait_for_timeout(300)
        tasks = view.page.evaluate("() => window.long")
        assert max(tasks, default=0) < 1000, tasks
