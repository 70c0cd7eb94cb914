from __future__ import annotations

import json
from pathlib import Path

from benchmarks.parts import Part, run_parts


def test_a_part_without_time_left_says_so(tmp_path: Path) -> None:
    (outcome,) = run_parts([Part("models", ("models",))], tmp_path, limit_s=0)
    assert (outcome.problem, outcome.result) == ("not run: out of time; give the same command again", None)


def test_a_part_that_fails_is_told_with_its_log_and_the_next_one_runs(tmp_path: Path) -> None:
    wrong = Part("wrong", ("show", "nowhere.json"), settings={"NCCL_P2P_DISABLE": "1"})
    graph = Path(__file__).parent / "golden" / "profile.v1.json"
    right = Part("plan", ("plan", str(graph), "--stages", "2", "--cluster", "4x-pcie-gen1"))
    outcomes = run_parts([wrong, right], tmp_path, limit_s=60)
    assert [outcome.problem for outcome in outcomes] == [f"exit code 2: see {tmp_path}/wrong.log", None]
    assert outcomes[0].command == "NCCL_P2P_DISABLE=1 partkit show nowhere.json"
    assert json.loads((tmp_path / "plan.json").read_text())["kind"] == "plan"


def test_a_part_whose_result_is_kept_is_not_run_again(tmp_path: Path) -> None:
    kept = {"name": "plan", "command": "partkit plan", "seconds": 2.0, "problem": None, "result": "plan.json"}
    (tmp_path / "outcomes.json").write_text(json.dumps([kept]))
    (outcome,) = run_parts([Part("plan", ("plan", "bert"))], tmp_path, limit_s=0)
    assert (outcome.seconds, outcome.result) == (2.0, "plan.json")
