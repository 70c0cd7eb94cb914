from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.result import Comparison, Row
from partkit.errors import MismatchError
from partkit.runs.join import join_comparisons

GOLDEN = Comparison.load(Path(__file__).parent.parent / "golden" / "comparison.v1.json")
MACHINE = {"host": "here", "versions": {"torch": "2.13.0"}}


def comparison(*rows: tuple[str, float], **environment: object) -> Comparison:
    made = tuple(Row(executor=name, status="ok", samples_per_s=rate, peak_bytes=(1,)) for name, rate in rows)
    update = {"valid": True, "reasons": (), "rows": made, "environment": MACHINE | environment}
    return GOLDEN.model_copy(update=update)


def test_rows_of_one_model_and_machine_are_joined_and_judged_together() -> None:
    earlier, later = comparison(("single", 10.0), ("pipeline", 19.0)), comparison(("single", 10.5), ("tp", 30.0))
    joined = join_comparisons([earlier, later], ["a.json", "b.json"])
    assert [(row.executor, row.samples_per_s) for row in joined.rows] == [
        ("single (a.json)", 10.0),
        ("pipeline", 19.0),
        ("single (b.json)", 10.5),
        ("tp", 30.0),
    ]
    assert joined.verdict.throughput == "tp"
    assert joined.verdict.text.startswith("tp is fastest with 30 samples/s, 2.86 times single (b.json), on 2 devices.")
    assert joined.warnings == ("joined from runs made at different times: rows of different runs did not take turns",)
    assert list(joined.environment["joined"]) == ["a.json", "b.json"]


def test_other_settings_of_the_same_machine_are_told() -> None:
    quiet, loud = comparison(("tp", 1.0)), comparison(("fsdp", 1.0), nccl_settings={"NCCL_P2P_DISABLE": "1"})
    told = join_comparisons([quiet, loud], ["a", "b"]).warnings
    assert told[1:] == ("nccl_settings differs: None in a, {'NCCL_P2P_DISABLE': '1'} in b",)


def test_other_machines_are_refused_unless_asked_for_and_then_said() -> None:
    here, there = comparison(("single", 1.0)), comparison(("single", 2.0), host="there")
    with pytest.raises(MismatchError) as raised:
        join_comparisons([here, there], ["a", "b"])
    assert str(raised.value) == (
        "these comparisons cannot be set side by side: host differs: here in a, there in b; "
        "join those of one model and machine, or add --allow-mixed"
    )
    mixed = join_comparisons([here, there], ["a", "b"], allow_mixed=True)
    assert mixed.warnings[0] == "host differs: here in a, there in b"
    assert (mixed.verdict.throughput, mixed.verdict.text) == (
        None,
        "Rows of different models or machines: none is named the best.",
    )


def test_another_model_is_refused() -> None:
    other = comparison(("single", 1.0)).model_copy(
        update={"model": GOLDEN.model.model_copy(update={"dtype": "bfloat16"})}
    )
    with pytest.raises(MismatchError, match=r"model differs: bert-tiny float32 .* in a, bert-tiny bfloat16 .* in b"):
        join_comparisons([comparison(("single", 1.0)), other], ["a", "b"])


def test_an_invalid_part_makes_the_whole_invalid_and_is_named() -> None:
    bad = comparison(("single", 1.0)).model_copy(update={"valid": False, "reasons": ("fsdp: wrong",)})
    joined = join_comparisons([comparison(("single", 1.0)), bad], ["a", "b"])
    assert (joined.valid, joined.reasons) == (False, ("b: fsdp: wrong",))
