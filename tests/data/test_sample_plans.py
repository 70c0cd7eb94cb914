from pathlib import Path

import pytest

from partkit.data.plan import Plan
from partkit.stages.cut import cut_plan
from tests.planned import captured_model

PLANS = sorted((Path(__file__).parent.parent.parent / "plans").glob("*.json"))


def test_there_are_samples() -> None:
    assert {"bert2.json", "bert4.json"} < {path.name for path in PLANS}


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_sample_plan_cuts_the_model_that_it_names(path: Path) -> None:
    plan = Plan.load(path)
    captured = captured_model(plan.model.source)
    assert captured.spec.structure_sha256 == plan.model.structure_sha256
    assert plan.model.inputs == captured.spec.inputs
    stages = cut_plan(captured, plan)
    planned = [{send.to: set(send.values) for send in stage.sends} for stage in plan.stages]
    assert [{to: {v.name for v in values} for to, values in stage.sends.items()} for stage in stages] == planned
