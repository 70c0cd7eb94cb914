from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.generate import Generate
from partkit.errors import UsageError
from partkit.ranks.run_options import RunOptions
from partkit.runs.compare_writers import compare_writers, drawn_prompts
from tests.written import save_tiny, step_plan

OPTIONS = RunOptions(device="cpu", timeout_s=120)


def test_ways_to_write_are_rows_and_their_tokens_are_compared(tmp_path: Path) -> None:
    plan = step_plan(save_tiny(tmp_path, "llama"), 2, Generate(max_length=24, sequences=2, lanes=2, chunk=8))
    names = ("generate", "generate-single", "generate-accelerate")
    told: list[str] = []
    result = compare_writers(plan, OPTIONS, names=names, rounds=1, progress=lambda step, *_: told.append(step))
    assert [(row.executor, row.status) for row in result.rows] == [
        ("generate", "ok"),
        ("generate-single", "ok"),
        ("generate-accelerate", "unsupported"),
    ]
    assert result.valid
    assert len(result.rows[0].peak_bytes) == 2
    assert all(row.samples_per_s and row.latency_p50_s for row in result.rows[:2])
    assert result.warnings[0].startswith(
        "samples are new tokens, of 2 sequences with 12 tokens of prompt and 12 new ones"
    )
    assert told[0] == "Writing with generate"


def test_prompts_are_as_many_and_as_long_as_the_plan_says(tmp_path: Path) -> None:
    generate = Generate(max_length=24, sequences=3, chunk=8, mix=(5, 7))
    prompts = drawn_prompts(step_plan(save_tiny(tmp_path, "gpt2"), 1, generate))
    assert [(len(each.tokens), each.max_new_tokens) for each in prompts] == [(5, 7)] * 3
    assert len({each.tokens for each in prompts}) == 3


def test_what_writes_no_text_is_refused(tmp_path: Path) -> None:
    plan = step_plan(save_tiny(tmp_path, "gpt2"), 1, Generate(max_length=24, sequences=1, chunk=8))
    with pytest.raises(UsageError, match="single writes no text; choose from generate, generate-single"):
        compare_writers(plan, OPTIONS, names=("single",))
