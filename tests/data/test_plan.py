from __future__ import annotations

import copy
from pathlib import Path

import pytest

from partkit.data.plan import Plan
from partkit.errors import FormatError

PLAN = Plan.load(Path(__file__).parent.parent / "golden" / "plan.v1.json")


def _edited(edit):
    data = copy.deepcopy(PLAN.to_data())
    edit(data)
    return data


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (
            lambda plan: plan["stages"][1].update(index=3),
            "stages[1].index is 3, and stages are numbered in order",
        ),
        (
            lambda plan: plan["stages"][0].update(devices=[2]),
            "stages[0].devices names device 2, and the cluster has 2 (0 to 1)",
        ),
        (
            lambda plan: plan["stages"][1]["nodes"].append("gelu"),
            "node 'gelu' stands in stages 0 and 1",
        ),
        (
            lambda plan: plan["stages"][0]["sends"][0].update(to=2),
            "stages[0].sends goes to stage 2, which is no other stage",
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(edit, fault):
    with pytest.raises(FormatError) as caught:
        Plan.from_data(_edited(edit), where="p.json")
    assert str(caught.value) == f"p.json is not a valid plan: {fault}; correct the file there"


def test_a_stage_without_nodes_is_refused():
    with pytest.raises(FormatError, match=r"stages\[0\]\.nodes: Tuple should have at least 1 item"):
        Plan.from_data(_edited(lambda plan: plan["stages"][0].update(nodes=[])), where="p.json")


def test_each_placed_node_has_one_stage():
    assert PLAN.stage_by_node == {
        **dict.fromkeys(("input_ids", "embedding", "linear", "gelu"), 0),
        **dict.fromkeys(("linear_1", "linear_2", "output"), 1),
    }


def test_what_changes_between_runs_stands_last():
    assert list(PLAN.to_data())[-1] == "provenance"


def test_a_plan_without_lanes_and_microbatches_takes_items_one_by_one():
    assert (PLAN.lanes, PLAN.microbatch, PLAN.max_delay_s) == (1, 1, 0.0)


def test_lanes_microbatch_and_delay_are_checked():
    with pytest.raises(FormatError) as caught:
        Plan.from_data(_edited(lambda plan: plan.update(lanes=0, microbatch=0, max_delay_s=-1.0)), where="p.json")
    assert str(caught.value) == (
        "p.json is not a valid plan: lanes: Input should be greater than or equal to 1, not 0; "
        "microbatch: Input should be greater than or equal to 1, not 0; "
        "max_delay_s: -1 is out of range: 0, or 1e-18 to 1e+09 s is meant; correct the file there"
    )
