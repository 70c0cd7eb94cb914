"""The plan as a picture: well-formed by itself, told in words too, and nothing in it that others wrote is markup."""

from __future__ import annotations

import re
from importlib.resources import files
from xml.etree import ElementTree

import pytest

from partkit.data.plan import Plan
from partkit.planners import explain_cuts
from partkit.reports.colours import STAGE_COLOURS
from partkit.reports.page.picture import picture_svg

from .documents import HOSTILE, PLAN, PROFILE, hostile, layered

SVG = "{http://www.w3.org/2000/svg}"


def read(plan, profile=None) -> ElementTree.Element:
    cuts = explain_cuts(plan, profile) if profile is not None else ()
    return ElementTree.fromstring(picture_svg(plan, profile, cuts))


def texts(picture: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def changed(plan: Plan, change) -> Plan:
    data = plan.to_data()
    change(data)
    return Plan.from_data(data, where="here")


def test_it_shows_each_stage_and_the_bytes_between_them():
    found = texts(read(PLAN))
    assert found[0] == "bert-tiny in 2 stages on 2 devices"
    assert found[1].startswith("predicted 2,458 samples/s · latency 507 µs")
    assert "stage 0 · cpu0" in found
    assert "embeddings, layer.0" in found
    assert "computes 108 µs; 10.9 MB of weights, peak 11.3 MB" in found
    assert "328 kB (embedding, gelu) · 298 µs" in found
    assert found.count("152 µs an item") == 1
    assert [text for text in found if text.endswith(", the slowest")] == ["398 µs an item, the slowest"]


def test_title_and_description_say_it_in_words():
    picture = read(PLAN)
    title, description = (picture.find(f"{SVG}{name}") for name in ("title", "desc"))
    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text.startswith("bert-tiny in 2 stages on 2 devices: predicted 2,458 samples/s")
    assert "It sends 328 kB (embedding, gelu) to stage 1. Stage 1 on cpu1:" in description.text


def test_with_its_profile_it_has_the_model_over_its_time():
    without, whole = read(PLAN), read(PLAN, PROFILE)
    assert [each.get("class") for each in whole.iter(f"{SVG}svg") if each.get("class") == "map"] == ["map"]
    assert not [each for each in without.iter(f"{SVG}svg") if each.get("class") == "map"]
    assert any(text.startswith("0 | 1: ") for text in texts(whole))


def test_it_fetches_runs_and_refers_to_nothing_and_knows_the_dark():
    text = picture_svg(PLAN, PROFILE)
    assert "@media (prefers-color-scheme:dark)" in text
    for word in ("<script", "href", "url(", "@import", "<image", "<foreignObject"):
        assert word not in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "var(" not in text
    assert "color-mix" not in text


def test_its_colours_are_the_page_s():
    css = files("partkit.reports.page").joinpath("page.css").read_text()
    for place, colour in enumerate(STAGE_COLOURS):
        assert f".s{place}{{--c:{colour}}}" in css
        assert f".s{place}{{fill:{colour}}}" in picture_svg(PLAN, None)


def test_what_passes_stages_by_goes_around_them():
    profile, plan = layered(12, 20)

    def send_far(data):
        data["stages"][0]["sends"].append({"to": 2, "values": ["v"], "bytes": 5000, "time_s": 1e-6})
        data["stages"][1]["sends"] = [{"to": 3, "values": ["w"], "bytes": 6000, "time_s": 1e-6}]

    picture = read(changed(plan, send_far), profile)
    assert "nothing crosses here to the next stage" in texts(picture)
    assert {"5 kB to stage 2", "6 kB to stage 3"} <= set(texts(picture))
    ways = [path for path in picture.iter(f"{SVG}path") if path.find(f"{SVG}title") is not None]
    assert [path.find(f"{SVG}title").text for path in ways] == ["5 kB (v) to stage 2", "6 kB (w) to stage 3"]
    lanes = {re.search(r"H(\d+)V", path.get("d"))[1] for path in ways}
    assert len(lanes) == 2  # they overlap between stages 1 and 2
    assert int(picture.get("width")) > 760


@pytest.mark.parametrize("profile", [None, PROFILE], ids=["alone", "with its profile"])
def test_nothing_is_drawn_outside(profile):
    picture = read(PLAN, profile)
    height, width = int(picture.get("height")), int(picture.get("width"))
    for rect in picture.findall(f"{SVG}rect")[1:]:
        assert float(rect.get("x")) + float(rect.get("width")) <= width
        assert float(rect.get("y")) + float(rect.get("height")) <= height
    assert max(float(text.get("y")) for text in picture.findall(f"{SVG}text")) < height


def test_names_that_others_wrote_are_text():
    plan = hostile().plans[0][1]
    text = picture_svg(plan, None)
    picture = ElementTree.fromstring(text)
    assert HOSTILE.split("\u202e")[0] in texts(picture)[0]
    assert "<script" not in text
    assert "<img" not in text
    assert not set(text) & set("\x1b\u202e")


def test_a_plan_of_one_stage_has_no_arrow():
    def join(data):
        first, *others = data["stages"]
        first["nodes"] += [name for stage in others for name in stage["nodes"]]
        data["stages"] = [{**first, "sends": []}]
        data["prediction"]["bottleneck_stage"] = 0

    picture = read(changed(PLAN, join))
    assert picture.findall(f"{SVG}path") == []
    assert texts(picture)[0] == "bert-tiny in 1 stage on 1 device"
