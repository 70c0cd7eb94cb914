"""Orders and replies cross a store and come out as they went in, whoever reads them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from torch._C._distributed_c10d import HashStore

from partkit.data import orders, replies
from partkit.data.document import Record
from partkit.data.examination import ExaminedDevice, PcieLink
from partkit.data.gauges import Gauge
from partkit.data.orders import (
    AnyOrder,
    CheckOutputs,
    DescribeEnvironment,
    ExamineDevice,
    ExamineLinks,
    Load,
    MeasureLinks,
    OpenStream,
    Order,
    ProfileModel,
    RunItems,
    Stop,
    TimeStages,
    WriteReference,
    name_of,
    read_order,
)
from partkit.data.replies import (
    DeviceExamined,
    DeviceUse,
    Done,
    EnvironmentDescribed,
    GaugesTimed,
    ItemsRun,
    LinksExamined,
    LinksMeasured,
    LinkTimes,
    Loaded,
    OutputDifference,
    OutputsChecked,
    PathTimes,
    Profiled,
    ReferenceWritten,
    StageSeconds,
)
from partkit.ranks.mailbox import Mailbox, serve

DIFFERENCE = OutputDifference(max_abs_diff=None, max_abs=3.0, matches=False)
RUN = ItemsRun(
    begin=1.0,
    end=3.0,
    busy=0.5,
    num_finished=2,
    steady_per_s=None,
    uses=(DeviceUse(device="cuda:1", gpu_util_max=80.0, throttled_by=("power brake",), peak_bytes=9),),
    host_peak_bytes=7,
    entered_at=((0, 1.5), (1, 2.0)),
    finished_at=((1, 2.5), (0, 2.75)),
    sample=DIFFERENCE,
)
GAUGE = Gauge(
    nodes=("linear", "linear_1"),
    operation="aten.relu.default",
    args=({"tensor": {"shape": [2, 3], "stride": [3, 1], "dtype": "float32"}},),
    in_model=1.25,
)
CONVERSATION: list[tuple[Order[Any], Record]] = [
    (
        Load(),
        Loaded(
            load_s=1.5,
            weight_bytes=9,
            weights_s=0.5,
            is_data_parallel=True,
            items_at_once=16,
            warnings=("16 items a launch",),
        ),
    ),
    (WriteReference(num_items=4, path="/tmp/reference"), ReferenceWritten(num_tensors=8)),
    (orders.CopyReference(reference="/tmp/reference"), Done()),
    (CheckOutputs(num_items=12, reference="/tmp/reference"), OutputsChecked(difference=DIFFERENCE)),
    (orders.TimeFilling(pairs=((4, 1), (2, 2))), replies.FillingTimed(seconds=(0.5, 0.25))),
    (orders.WriteText(prompts=()), replies.TextWritten(seconds=0.5)),
    (TimeStages(), StageSeconds(seconds_by_place={0: 0.25, 3: 0.5})),
    (RunItems(num_items=9, rate_per_s=2.5, sample=(0, 8), reference="/tmp/reference"), RUN),
    (OpenStream(folder="/dev/shm/partkit-x", num_slots=6, num_output_slots=9, outputs=("logits",)), Done()),
    (orders.ServeStream(), Done()),
    (orders.CaptureModel(), Done()),
    (ProfileModel(path="/tmp/profile.json", progress="/tmp/progress"), Profiled(num_nodes=273, gauges=(GAUGE,))),
    (orders.TimeGauges(gauges=(GAUGE,)), GaugesTimed(seconds=(0.25, None))),
    (
        MeasureLinks(),
        LinksMeasured(
            links=(LinkTimes(ranks=(0, 1), one_way_s=(1e-5, 2e-5)),), device_name="NVIDIA H100", memory_bytes=1 << 36
        ),
    ),
    (
        ExamineDevice(),
        DeviceExamined(
            device=ExaminedDevice(index=0, type="cuda", name="NVIDIA H100", pcie=PcieLink(generation=5)), peers=(1, 2)
        ),
    ),
    (
        ExamineLinks(path="nccl"),
        LinksExamined(
            links=(PathTimes(ranks=(0, 1), one_way_s=(1e-5, 2e-5), verified_bytes=1 << 20, changed_bytes=3),)
        ),
    ),
    (DescribeEnvironment(), EnvironmentDescribed(environment={"host": "here", "versions": {"torch": "2.11"}})),
]


def test_every_order_and_reply_comes_out_of_the_store_as_it_went_in() -> None:
    store = HashStore()
    mailbox, taken = Mailbox(store), list[AnyOrder]()
    posted = [mailbox.post(order) for order, _ in CONVERSATION]
    mailbox.post(Stop())
    assert mailbox.doing(0) is None, "no order was taken yet"

    def answer(order: AnyOrder) -> Record:
        taken.append(order)
        return CONVERSATION[len(taken) - 1][1]

    serve(store, 0, answer)
    assert taken == [order for order, _ in CONVERSATION]
    assert [mailbox.replies(each, [0]) for each in posted] == [[reply] for _, reply in CONVERSATION]
    assert mailbox.doing(0) == "environment", "the last order but the one to stop"


def test_the_conversation_above_has_every_order_and_every_reply() -> None:
    assert {type(order) for order, _ in CONVERSATION} | {Stop} == set(get_args(orders.AnyOrder))
    assert {type(reply) for _, reply in CONVERSATION} == set(get_args(replies.Reply))


def test_names_of_orders_are_those_that_messages_have_always_told() -> None:
    names = " ".join(name_of(order) for order, _ in CONVERSATION)
    assert names == (
        "load reference copy check filling write stage run open_stream stream prepare profile gauges links device "
        "paths environment"
    )


def test_ranks_that_have_not_answered_are_told_by_number() -> None:
    store = HashStore()
    mailbox = Mailbox(store)
    posted = mailbox.post(TimeStages())
    mailbox.post(Stop())
    assert mailbox.unanswered(posted, range(3)) == [0, 1, 2]
    serve(store, 1, lambda order: StageSeconds(seconds_by_place={}))
    assert mailbox.unanswered(posted, range(3)) == [0, 2]
    assert mailbox.unanswered(posted, [1]) == []


def test_an_order_that_nobody_knows_or_with_a_foreign_field_is_refused() -> None:
    with pytest.raises(ValueError, match="tag 'teleport' found using 'order' does not match"):
        read_order('{"order": "teleport"}')
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        read_order('{"order": "load", "path": "x"}')
