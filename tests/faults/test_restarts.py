"""Ranks that are lost in the middle of a program's items are replaced: each output once, in order, none missing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from partkit.errors import RankFailedError, RestartWarning, UsageError
from partkit.runs.open_pipeline import open_pipeline
from partkit.runs.replan import plan_without
from partkit_cli.main import main
from tests.faults.acting import VARIABLE, make
from tests.planned import plan_of

ACTING = "py:tests.faults.acting:make"
COUNT = 24


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "act"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return path


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RestartWarning)
        yield


def items() -> list[torch.Tensor]:
    return [torch.full((2, 4), float(number)) for number in range(COUNT)]


def acting_from(told: Path, faults: dict[int, str]) -> Iterator[torch.Tensor]:
    """The items; with some of them a fault is on its way to whichever item is computed next."""
    for number, item in enumerate(items()):
        if number in faults:
            told.write_text(faults[number])
        yield item


def test_the_result_is_as_if_nothing_had_been_lost(told: Path) -> None:
    plan, faults = plan_of(ACTING, 2), {6: "kill", 12: "hang", 18: "raise"}
    with open_pipeline(plan, device="cpu", max_in_flight=4, allow_code=True, timeout_s=4, restarts=3) as pipeline:
        whole = list(pipeline.map(items()))
        before = pipeline.pids()
        outputs = list(pipeline.map(acting_from(told, faults)))
        kept = [output.clone() for output in outputs]
        assert pipeline.pids() != before
        told_of = [line.partition("; restart ") for line in pipeline.restarted]
    assert torch.equal(torch.stack(outputs), torch.stack(whole)), "each once and in order"
    assert torch.equal(torch.stack(outputs), torch.stack(kept))
    causes = [
        "was ended by SIGKILL during 'stream'",
        "got stuck during 'stream' and gave no output for item",
        "failed: ",
    ]
    for number, ((cause, _, rest), expected) in enumerate(zip(told_of, causes, strict=True), start=1):
        assert cause.startswith(f"rank 1 of 2 (stage 1, pipeline on cpu) {expected}")
        assert rest.startswith(f"{number} of 3 on the same devices, from item ")


def test_where_no_restart_is_left_the_error_says_how_many_there_were(told: Path) -> None:
    got: list[torch.Tensor] = []
    with (
        open_pipeline(plan_of(ACTING, 2), device="cpu", max_in_flight=4, allow_code=True, restarts=1) as pipeline,
        pytest.raises(RankFailedError) as raised,
    ):
        got.extend(pipeline.map(acting_from(told, {8: "every time"})))
    assert "was ended by SIGKILL" in raised.value.message
    assert " (the ranks were restarted once before)" in raised.value.message
    assert 0 < len(got) < COUNT


def test_submitted_items_do_not_notice(told: Path) -> None:
    with open_pipeline(plan_of(ACTING, 2), device="cpu", max_in_flight=4, allow_code=True, restarts=1) as pipeline:
        futures: list[Future[Any]] = [pipeline.submit(item) for item in acting_from(told, {10: "kill"})]
        outputs = [future.result(60) for future in futures]
        assert len(pipeline.restarted) == 1
    model, _ = make()
    assert [tuple(output.shape) for output in outputs] == [tuple(model(item).shape) for item in items()]
    again = plan_of(ACTING, 2)
    with open_pipeline(again, device="cpu", max_in_flight=4, allow_code=True) as pipeline:
        assert torch.equal(torch.stack(outputs), torch.stack(list(pipeline.map(items()))))


def test_a_device_that_is_lost_for_good_is_done_without(told: Path) -> None:
    with open_pipeline(
        plan_of(ACTING, 2), device="cpu", max_in_flight=4, allow_code=True, restarts=2, replan=True
    ) as pipeline:
        whole = list(pipeline.map(items()))
        outputs = list(pipeline.map(acting_from(told, {8: "every time"})))
        first, second = pipeline.restarted
        assert len(pipeline.pids()) == 1
    assert torch.allclose(torch.stack(outputs), torch.stack(whole))
    assert "; restart 1 of 2 on the same devices, from item " in first
    assert "; restart 2 of 2 without device 1, from item " in second


def test_a_plan_without_a_device_leaves_the_others_their_numbers(told: Path) -> None:
    plan = plan_of(ACTING, 3)
    found = plan_without(plan, {0})
    assert {index for stage in found.stages for index in stage.devices} <= {1, 2}
    assert (found.cluster, found.executor) == (plan.cluster, plan.executor)


def test_a_file_of_items_survives_at_the_terminal(told: Path, tmp_path: Path, capsys: Any) -> None:
    plan, inputs, outputs = tmp_path / "plan.json", tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    plan_of(ACTING, 2).save(plan)
    save_file({"x": torch.stack(items())}, inputs)
    told.write_text("kill")
    given = ["--device", "cpu", "--allow-code", "--inputs", str(inputs), "--outputs", str(outputs), "--json"]
    with pytest.raises(SystemExit) as stop:
        main(["run", str(plan), *given, "--restarts", "1"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    (warning,) = [each for each in json.loads(printed.out)["warnings"] if "restart" in each]
    assert "rank 1 of 2 (stage 1, pipeline on cpu) was ended by SIGKILL" in warning
    assert warning.endswith("; restart 1 of 1 on the same devices, from item 0")
    assert warning in printed.err
    (name,) = load_file(outputs)
    assert load_file(outputs)[name].shape[0] == COUNT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"restarts": -1}, "restarts is -1; it is 0 or more"),
        ({"replan": True}, "replan needs restarts, of which there are none; allow at least 2 of them"),
    ],
)
def test_restarts_that_mean_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_pipeline(plan_of(ACTING, 2), device="cpu", max_in_flight=4, allow_code=True, **given)
    assert str(raised.value) == message
