"""Recorded runs: what each stage did when, of a pipeline over gloo and of one process."""

from __future__ import annotations

import itertools
import json

import pytest

from partkit.data.orders import Load
from partkit.data.timeline import Event
from partkit.errors import UsageError
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of, require_request
from partkit.reports.chrome_trace import chrome_trace
from partkit.runs.record import idle_shares, record
from tests.planned import plan_of

ITEMS = 12


@pytest.mark.parametrize("executor", ["pipeline", "split"])
def test_every_item_computes_once_in_each_stage_and_in_order(executor):
    plan = plan_of("bert-tiny", 2, executor=executor)
    with RankGroup(job_of(plan, executor, RunOptions(device="cpu"))) as group:
        group.call(Load())
        recorded = record(group, ITEMS)
    events = recorded.fields["timeline"]
    for stage in (0, 1):
        own = [event for event in events if event.stage == stage]
        computed = [event for event in own if event.track == "compute"]
        assert [event.item for event in computed] == list(range(ITEMS))
        assert all(before.end_s <= after.begin_s + 1e-9 for before, after in itertools.pairwise(own))
    by_item = {(event.stage, event.item): event for event in events if event.track == "compute"}
    for item in range(ITEMS):
        assert by_item[0, item].end_s <= by_item[1, item].begin_s, "a value is there before it is used"
    assert [share.index for share in recorded.fields["idle"]] == [0, 1]
    for share in recorded.fields["idle"]:
        assert share.busy + share.input + share.slot + share.send == pytest.approx(1.0)
    assert recorded.told.startswith("the timeline is of 12 items in a run of their own, at ")


def test_shares_are_of_the_full_pipeline_by_cause():
    def event(item, track, begin, end, cause=None):
        return Event(stage=0, track=track, item=item, begin_s=begin, end_s=end, cause=cause)

    filling = [event(0, "idle", 0.0, 100.0, "input"), event(0, "compute", 100.0, 101.0)]
    full = [
        event(1, "idle", 101.0, 102.0, "input"),
        event(1, "idle", 102.0, 105.0, "slot"),
        event(1, "compute", 105.0, 111.0),
    ]
    (share,) = idle_shares([*filling, *full], 5)
    assert (share.busy, share.input, share.slot, share.send) == (0.6, 0.1, 0.3, 0.0)


def test_a_chrome_trace_has_a_process_a_run_and_a_thread_a_track():
    def event(track, **named):
        return Event(stage=1, track=track, item=3, begin_s=0.5, end_s=0.75, **named)

    events = [event("compute"), event("send", to=2), event("idle", cause="slot")]
    trace = json.loads(chrome_trace({"measured": events, "simulated": events[:1]}))["traceEvents"]
    names = {(each["pid"], each.get("tid")): each["args"]["name"] for each in trace if each["name"].endswith("_name")}
    assert names == {
        (1, None): "measured",
        (1, 1): "stage 1: compute",
        (1, 2): "stage 1: send",
        (2, None): "simulated",
        (2, 1): "stage 1: compute",
    }
    complete = [each for each in trace if each["ph"] == "X"]
    assert [(each["name"], each["tid"], each["ts"], each["dur"]) for each in complete if each["pid"] == 1] == [
        ("item 3", 1, 500_000.0, 250_000.0),
        ("item 3 to stage 2", 2, 500_000.0, 250_000.0),
        ("waits for a free slot downstream", 1, 500_000.0, 250_000.0),
    ]


def test_what_has_no_stages_has_no_timeline():
    plan = plan_of("bert-tiny", 2)
    with pytest.raises(UsageError) as raised:
        require_request(plan, "fsdp", RunOptions(device="cpu", records=True))
    assert str(raised.value) == (
        "fsdp has no stages whose timeline could be told; use one of pipeline, pipeline-nccl, split"
    )
