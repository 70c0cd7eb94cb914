"""The page in headless Chromium: nothing is fetched or complained of, and what the script does works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from partkit.reports.page import page_html

from .documents import COMPARISON, RUN, contents, hostile, layered, whole

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
PROBE = """
const say = {};
const rows = (table) => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
const table = document.querySelector("#modules table.sortable");
const time = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith("time"));
say.before = rows(table);
time.querySelector("button").click();
say.falling = [rows(table), time.getAttribute("aria-sort")];
time.querySelector("button").click();
say.rising = [rows(table), time.getAttribute("aria-sort")];
const search = document.querySelector(".search");
const shown = () => [...document.querySelectorAll(".boxes .node:not(.away) > .name")].map((name) => name.textContent);
const type = (text) => { search.value = text; search.dispatchEvent(new Event("input")); };
type("gelu");
say.found = [shown(), document.querySelector(".found").textContent];
say.open = [...document.querySelectorAll(".boxes details")].filter((fold) => fold.open).length;
type("no such thing");
say.nothing = [shown(), document.querySelector(".found").textContent];
type("");
say.all = shown().length;
document.querySelector(".fold").click();
say.folded = document.querySelectorAll(".boxes details[open]").length;
document.querySelector(".unfold").click();
say.unfolded = document.querySelectorAll(".boxes details:not([open])").length;
document.querySelector(".by-time").click();
say.heat = getComputedStyle(document.querySelector(".boxes .node:last-of-type")).backgroundColor;
say.page = getComputedStyle(document.body).backgroundColor;
say.width = innerWidth;
say.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
const free = [...document.querySelectorAll("body *")].filter((each) => !each.closest(".wide *, svg, .skip"));
const isTooWide = (each) => each.getBoundingClientRect().right > innerWidth + 1;
say.tooWide = free.filter(isTooWide).map((each) => each.outerHTML.slice(0, 80));
document.title = "probed";
top.document.body.dataset.said = JSON.stringify(say);
"""


def opened(page: str, folder: Path, *options: str) -> tuple[str, list[str]]:
    """The page's elements after its script, and what the browser's console said."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder}/profile", *options, "--dump-dom", file.as_uri()]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return told.stdout, [line for line in told.stderr.splitlines() if "CONSOLE" in line]


def probed(page: str, folder: Path, *options: str, width: int) -> dict[str, object]:
    """What the probe saw in a copy of the page whose policy lets it run, in a frame as narrow as no window may be."""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    copy = escape(free.replace("</body>", f"<script>{PROBE}</script></body>"))
    frame = f'<iframe srcdoc="{copy}" width="{width}" height="800" style="border:0"></iframe>'
    outer = f'<!DOCTYPE html><html style="color-scheme:light dark"><body>{frame}</body></html>'
    dom, console = opened(outer, folder, *options)
    assert console == []
    (said,) = re.findall(r'data-said="([^"]*)"', dom)
    found: dict[str, object] = json.loads(unescape(said))
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, object]:
    return probed(page_html(whole()), tmp_path_factory.mktemp("browser"), width=1280)


def test_the_page_as_written_runs_its_script_and_nothing_is_complained_of(tmp_path):
    dom, console = opened(page_html(whole()), tmp_path)
    assert console == []
    assert dom.count('aria-sort="none"') > 10


def test_names_from_files_run_nothing(tmp_path):
    page = page_html(hostile())
    dom, console = opened(page, tmp_path)
    assert console == []
    assert dom.count("<script") == page.count("<script") == 5
    assert "<img" not in dom


def test_a_table_sorts_by_number_both_ways(seen):
    decoder = "cls.predictions.decoder"
    assert seen["before"][-1] == decoder
    assert seen["falling"][0][0] == decoder
    assert seen["falling"][1] == "descending"
    assert seen["rising"] == [seen["falling"][0][::-1], "ascending"]


def test_search_shows_what_it_finds_unfolded_and_gives_all_back(seen):
    assert seen["found"] == [["gelu"], "1 found"]
    assert seen["open"] > 0
    assert seen["nothing"] == [[], "0 found"]
    assert seen["all"] == 6
    assert (seen["folded"], seen["unfolded"]) == (0, 0)


def test_nothing_is_fetched_and_nothing_is_wider_than_the_page(seen):
    assert seen["fetched"] == []
    assert seen["tooWide"] == []
    assert seen["heat"].startswith("color(srgb")


def test_a_narrow_and_dark_page_of_bert_s_size_overflows_nowhere_either(tmp_path, seen):
    profile, plan = layered(12, 23)
    page = page_html(contents(COMPARISON, RUN, plan, profile))
    narrow = probed(page, tmp_path, "--blink-settings=preferredColorScheme=0", width=360)
    assert (narrow["width"], narrow["tooWide"]) == (360, [])
    assert (seen["page"], narrow["page"]) == ("rgb(255, 255, 255)", "rgb(20, 23, 28)")
