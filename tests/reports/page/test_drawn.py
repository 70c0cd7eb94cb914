from __future__ import annotations

import base64
import gzip
import json
import re

from partkit.data.plan import Plan
from partkit.reports.page.drawn import CutsReached, cut_texts

from .documents import PLAN, large
from .reading import Reader


def _send(_source: int, to: int, name: str, size: int) -> dict[str, object]:
    return {"to": to, "values": [name], "bytes": size, "time_s": 0.0}


def three_stages(*sends: tuple[int, int, str, int]) -> Plan:
    data = PLAN.to_data()
    data["cluster"]["devices"] *= 2
    data["stages"] = [
        {
            "index": index,
            "devices": [index],
            "nodes": [f"n{index}"],
            "sends": [_send(*each) for each in sends if each[0] == index],
        }
        for index in range(3)
    ]
    return Plan.from_data(data, where="here")


def test_what_passes_by_a_stage_crosses_both_cuts() -> None:
    plan = three_stages((0, 1, "a", 1000), (0, 2, "b", 200), (1, 2, "c", 30))
    assert cut_texts(plan, ()) == {
        0: "cut 0 | 1: 1.2 kB cross (a, b)",
        1: "cut 1 | 2: 230 B cross (b, c)",
    }


def test_what_is_sent_back_crosses_too_and_a_cut_may_have_nothing_crossing() -> None:
    assert cut_texts(three_stages((1, 0, "a", 1000)), ()) == {0: "cut 0 | 1: 1 kB cross (a)", 1: "cut 1 | 2: 0 B cross"}


def test_of_many_values_the_first_three_are_named() -> None:
    plan = three_stages(*((0, 1, name, 1) for name in "abcde"))
    assert cut_texts(plan, ())[0] == "cut 0 | 1: 5 B cross (a, b, c and 2 more)"


def test_a_cut_comes_before_the_first_thing_of_a_later_stage_and_once() -> None:
    cuts = CutsReached()
    found = [cuts.before(stages) for stages in ([0], [], [0, 1], [1], [0], [3], [2])]
    assert found == [[], [], [], [0], [], [1, 2], []]


def test_of_a_large_model_each_operation_is_packed_once_in_the_box_that_it_unfolds_from() -> None:
    plan, page = large()
    read = Reader(page)
    (packed,) = [each.text for each in read.find("script") if each.attributes.get("class") == "inside"]
    contents = json.loads(gzip.decompress(base64.b64decode(packed)))
    boxes = [each for each in read.find("div") if "data-inside" in each.attributes]
    assert [int(box.attributes["data-inside"]) for box in boxes] == list(range(len(contents)))
    operations = re.findall(r'<span class="name">(linear_\w+)</span>', "".join(contents))
    assert sorted(operations) == sorted(name for stage in plan.stages for name in stage.nodes)
    seventh = next(
        place for place, box in enumerate(boxes) if box.attributes["title"].startswith("bert.encoder.layer.7:")
    )
    assert contents[seventh].count(">linear_7_") == contents[seventh].count('class="node') == 50
    assert Reader(contents[seventh]).faults == []


def test_of_a_large_model_the_layers_that_a_cut_goes_through_show_where() -> None:
    plan, page = large()
    lines = [each.text for each in Reader(page).find("div") if each.attributes.get("class", "").endswith("closed")]
    told = [line.partition(")")[0] for line in lines if "within" in line]
    last = [stage.nodes[-1] for stage in plan.stages[:-1]]
    assert last == ["linear_100_6", "linear_200_13", "linear_300_20"]
    assert told == [
        f"{cut}{cut + 1}part_{part}within: cut {cut} | {cut + 1}: 393 kB cross ({name}"
        for cut, (part, name) in enumerate(zip((0, 1, 1), last, strict=True))
    ]
