from __future__ import annotations

import pytest

from partkit.reports.page import page_html
from partkit.reports.page.stages import Turn, measured, predicted

from .documents import COMPARISON, PLAN, RUN, contents
from .reading import Reader

PERIOD_S = PLAN.prediction.period_s
SENT_S = PLAN.stages[0].sends[0].time_s
OVERLAPPING = PLAN.model_copy(update={"cluster": PLAN.cluster.model_copy(update={"overlap": True})})


def test_a_stage_is_predicted_to_compute_send_receive_and_else_be_idle() -> None:
    first, second = (predicted(PLAN, stage) for stage in PLAN.stages)
    assert first == Turn("predicted", 0.0001083, SENT_S, 0, max(PERIOD_S - (0.0001083 + SENT_S), 0), False)
    assert second == Turn("predicted", 9.973e-05, 0, SENT_S, PERIOD_S - (9.973e-05 + SENT_S), False)
    assert predicted(OVERLAPPING, PLAN.stages[1]).idle_s == PERIOD_S - 9.973e-05


def test_a_stage_on_two_devices_has_twice_the_period() -> None:
    stage = PLAN.stages[0].model_copy(update={"devices": (0, 1)})
    assert predicted(OVERLAPPING, stage).idle_s == 2 * PERIOD_S - stage.compute_s


def test_what_a_run_of_the_plan_measured_stands_beside_it() -> None:
    (turn,) = measured(PLAN, PLAN.stages[0], contents(RUN, COMPARISON))
    assert turn == Turn("measured, run.json", 0.00011, None, None, 1 / 2410 - 0.00011)


def test_a_run_of_another_plan_stands_by_itself() -> None:
    stages = (RUN.stages[0].model_copy(update={"predicted_s": 0.5}), RUN.stages[1])
    files = contents(RUN.model_copy(update={"stages": stages}), PLAN)
    assert list(measured(PLAN, PLAN.stages[0], files)) == []
    assert "run.json (without its plan)" in Reader(page_html(files)).section("stages")


def test_a_comparison_tells_how_busy_the_pipeline_of_the_model_was() -> None:
    busy = COMPARISON.rows[0].model_copy(update={"busy": (0.25, 0.75)})
    compared = COMPARISON.model_copy(update={"rows": (busy,), "model": PLAN.model})
    (turn,) = measured(PLAN, PLAN.stages[1], contents(compared))
    assert turn.source == "pipeline in comparison.json"
    assert (turn.compute_s, turn.idle_s) == pytest.approx((0.75 / 2301.5, 0.25 / 2301.5))
    other = compared.model_copy(update={"model": PLAN.model.model_copy(update={"dtype": "bfloat16"})})
    assert list(measured(PLAN, PLAN.stages[1], contents(other))) == []
