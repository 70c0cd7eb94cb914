"""The benchmark of stage times gives the unsplit model's outputs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from partkit.models.capture import capture
from partkit.models.sources import load_model
from tests.planned import plan_of
from tests.split_run import same_bits


def test_stages_in_a_row_give_the_outputs_of_the_author_s_module(monkeypatch: pytest.MonkeyPatch) -> None:
    main = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "stage_times" / "main.py"))
    monkeypatch.setitem(main["run_stages"].__globals__, "whole_cpu_s", lambda *_: 1.0)
    plan = plan_of("py:tests.sample_models:skips", 2)
    loaded = load_model(plan.model, allow_code=True)
    seconds, leaves = main["run_stages"](plan, loaded, capture(loaded), torch.device("cpu"))
    _, reference = main["run_eager"](loaded, torch.device("cpu"))
    assert seconds == (1.0, 1.0)
    assert same_bits(leaves, reference)
