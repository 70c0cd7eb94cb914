"""Models that run on nothing but what keeps to their example are found when they are profiled, in every form."""

from __future__ import annotations

import pytest
import torch

from partkit.data.job import RunJob
from partkit.models.capture import capture
from partkit.models.of_job import item_inputs
from partkit.models.sources import load_model, parse_model
from partkit.ranks import drawn_inputs
from partkit.ranks.drawn_inputs import with_fitting_inputs

CPU = torch.device("cpu")
REASONS = {
    "ignores_padding": "raises RuntimeError: to_padded_tensor: at least one constituent tensor should have non-zero",
    "bags": "raises RuntimeError: offsets[0] has to be 0",
    "factors": "raises _LinAlgError: linalg.cholesky: The factorization could not be completed",
    "entropy": "gives no number in output 'entropy'",
    "likelihood": "raises RuntimeError: all elements of input should be between 0 and 1",
    "keeps_what_is_told": None,
}


@pytest.mark.parametrize("name", REASONS)
def test_a_model_that_drawn_inputs_break_is_fed_its_example_throughout(name: str) -> None:
    loaded = load_model(parse_model(f"py:tests.demanding_models:{name}"))
    spec = with_fitting_inputs(loaded, capture(loaded), CPU)
    assert (spec.examples_only or "").startswith(REASONS[name] or ""), spec.examples_only
    assert (spec.examples_only is None) == (REASONS[name] is None)
    again = load_model(spec)  # as a rank loads it
    items = [item_inputs(again.spec, number, 4, again) for number in range(3)]
    is_example = [all(map(torch.equal, item, loaded.args)) for item in items]
    assert is_example == [True, spec.examples_only is not None, spec.examples_only is not None]


def test_a_model_too_large_for_the_device_is_tried_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_inputs, "free_bytes", lambda device: 900)
    loaded = load_model(parse_model("py:tests.demanding_models:entropy"))
    spec = with_fitting_inputs(loaded, capture(loaded), CPU)
    assert spec.examples_only == "gives no number in output '0'"


def test_a_model_without_examples_of_its_own_is_fed_drawn_inputs() -> None:
    loaded = load_model(parse_model("bert-tiny", batch=1, seq=4))
    captured = capture(loaded)
    assert with_fitting_inputs(loaded, captured, CPU) == captured.spec


def test_ranks_are_told_of_it_by_the_plan_s_model() -> None:
    spec = parse_model("py:tests.demanding_models:bags").model_copy(update={"examples_only": "raises X: y"})
    assert spec.notes == (
        "every item is the example that came with the model, since on drawn inputs it raises X: y: "
        "a check would not see items that change places",
    )
    assert RunJob.model_fields["num_inputs"].default == drawn_inputs.NUM_INPUTS
