from __future__ import annotations

import json

import pytest

from partkit.data.generate import Generate
from partkit.data.plan import Plan

from .conftest import GOLDEN

PLAN = ("plan", "bert-tiny", "--generate", "--stages", "2", "--max-length", "64")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("plan", "bert-tiny", "--max-length", "64"), "--max-length is for a plan that writes text; add --generate"),
        (("plan", "bert-tiny", "--generate", "--stages", "2"), "needs the most tokens of a sequence; add --max-length"),
        (
            ("plan", "bert-tiny", "--generate", "--max-length", "64"),
            "--generate needs a number of stages; add --stages N",
        ),
        ((*PLAN, "--seq", "32"), "--seq has no meaning with --generate; use --sequences and --max-length"),
        ((*PLAN, "--measure"), "--generate goes with neither --measure nor --pareto; leave it out"),
        ((*PLAN, "--replicate", "2"), "a stage that writes text is on one device; leave --replicate out"),
        ((*PLAN, "--sequences", "3", "--lanes", "2"), "3 sequences cannot be dealt to 2 lanes evenly"),
        ((*PLAN, "--microbatch", "4"), "are of items, and a plan that writes text has none; use --sequences"),
        ((*PLAN, "--mix", "12"), "--mix 12 is no prompt's length and number of new tokens; write it as 128:96"),
        ((*PLAN, "--mix", "60:5"), "--mix 60:5 is 65 tokens, and --max-length is 64; raise --max-length"),
    ],
)
def test_what_does_not_go_together_is_told_before_any_work(partkit, library, options, message):
    told = partkit(*options)
    assert told.code == 2
    assert message in " ".join(told.err.split())
    assert "profile_model" not in library.asked


def test_the_step_that_is_profiled_is_of_a_lanes_rows(partkit, library):
    told = partkit(*PLAN, "--sequences", "6", "--chunk", "16", "--json")
    assert told.code == 0
    made = Generate.model_validate(json.loads(told.out)["generate"])
    assert (made.max_length, made.sequences, made.lanes, made.chunk) == (64, 6, 2, 16)
    spec, _ = library.asked["profile_model"]
    sizes = {name.removeprefix("generate."): value for name, value in spec.options.items()}
    assert sizes == {"max_length": 64, "sequences": 6, "rows": 3, "tokens": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "prompts.jsonl holds no prompt"),
        ('{"input_ids": [1]}\n{"input_ids": []}', "prompts.jsonl, line 2 is no prompt"),
        ('{"text": "a", "input_ids": [1]}', "line 1 is no prompt"),
        ("[1, 2]", "line 1 is no prompt"),
        ("{", "line 1 is no prompt"),
    ],
)
def test_a_line_that_is_no_prompt_is_told(partkit, tmp_path, lines, message):
    (tmp_path / "prompts.jsonl").write_text(lines)
    told = partkit("generate", str(GOLDEN / "plan.v1.json"), "--prompts", "prompts.jsonl")
    assert told.code == 2
    assert message in told.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "there is no prompt; add --prompt TEXT, --tokens 1,2,3 or --prompts FILE.jsonl"),
        (("--tokens", "1,x"), "--tokens 1,x is no list of token ids"),
        (("--tokens", "1", "--top-k", "4"), "--top-k and --top-p are for tokens that are drawn; add --temperature"),
        (("--tokens", "1", "--stop", "3", "--no-stop"), "--stop and --no-stop cannot go together"),
        (("--tokens", "1"), "takes whole items and writes no text"),
    ],
)
def test_a_request_to_write_that_cannot_be_met_is_told(partkit, options, message):
    told = partkit("generate", str(GOLDEN / "plan.v1.json"), *options, "--device", "cpu")
    assert told.code == 2
    assert message in " ".join(told.err.split())


def test_a_plan_that_writes_is_refused_where_items_are_run(partkit, tmp_path):
    plan = Plan.load(GOLDEN / "plan.v1.json").model_copy(update={"generate": Generate(max_length=8, sequences=1)})
    plan.save(tmp_path / "writes.json")
    told = partkit("run", "writes.json", "--device", "cpu")
    assert told.code == 2
    assert "use 'partkit generate'" in told.err
    told = partkit("compare", "writes.json", "--with", "pipeline", "--device", "cpu")
    assert told.code == 2
    assert "pipeline writes no text; choose from generate, generate-single, generate-static" in told.err
