"""What is said against a command before any work: nothing is measured, and torch is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from partkit.executors import EXECUTORS

from .conftest import GOLDEN

PLAN = str(GOLDEN / "plan.v1.json")
CHECKED = [
    ("plan bert-tiny --stages 0", 2, "--stages 0 is not a number of stages; give 1 or more, or auto"),
    (
        "plan bert-tiny --stages 5 --cluster 4x-nvlink",
        4,
        "5 stages need 5 devices and the cluster has 4; ask for at most 4 stages or name a larger cluster",
    ),
    (
        "plan bert-tiny --lanes 2 --device cpu",
        2,
        "--lanes 2 is for GPUs: a CPU computes one item at a time; leave it out, or plan for GPUs with --analytic and "
        "--cluster",
    ),
    ("plan bert-tiny --max-delay 5ms", 2, "--max-delay is of microbatches, and there are none; add --microbatch N"),
    ("plan bert-tiny --replicate none", 2, "--replicate none is not a number of devices; give 1 or more, or auto"),
    (
        "plan bert-tiny --planner best",
        2,
        "there is no planner 'best'; choose one of auto, even, by_params, by_memory, chain, orders, ideals, refine",
    ),
    ("plan bert-tiny --pin layer.0", 2, "--pin layer.0 is not REGEX=STAGE; write it as --pin 'embeddings=0'"),
    (
        "plan bert-tiny --pin layer(=0",
        2,
        "--pin 'layer(' is not a regular expression: missing ), unterminated "
        "subpattern at position 5; escape it, as in 'layer\\.0'",
    ),
    (
        "plan bert-tiny --stages 2 --pin cls=2",
        4,
        "pin cls=2 names stage 2, and a plan may have 2 here; pin to one of those, or ask for more stages",
    ),
    (
        "plan bert-tiny --keep-together *",
        2,
        "--keep-together '*' is not a regular expression: nothing to repeat at "
        "position 0; escape it, as in 'layer\\.0'",
    ),
    ("plan bert-tiny --cap 0=big", 2, "'big' is not a size; write it as 24GiB, 1.5GB or a number of bytes"),
    (
        "plan bert-tiny --cluster 4x-nvlink --cap 4=1GB",
        2,
        "--cap 4=1GB names device '4', and cluster '4x-nvlink' has 4; use 0 to 3, or one of gpu0, gpu1, gpu2, gpu3",
    ),
    (
        "plan bert-tiny --cluster moon",
        2,
        "there is no cluster 'moon'; give a cluster file or one of 4x-pcie-gen1, "
        "2x-pcie-gen4, 4x-pcie-gen4, 8x-pcie-gen4, 2x-nvlink, 4x-nvlink, 8x-nvlink, 8x-a100, 8x-h200, "
        "2x4-pcie-gen4, 2x8-nvlink, 4x8-nvlink",
    ),
    (
        "plan bert-tiny --cluster none.json",
        2,
        "there is no file none.json; check the path, or make it with 'partkit plan'",
    ),
    (
        "plan bert-tiny --analytic h300 --cluster 4x-nvlink",
        2,
        "there are no published figures here for a device 'h300'; did you mean h200 or h100?",
    ),
    ("plan bert-tiny --memory much", 2, "'much' is not a size; write it as 24GiB, 1.5GB or a number of bytes"),
    ("profile bert-tiny --memory 0GB", 2, "--memory 0GB leaves no room for anything; give a size, as --memory 9GB"),
    (f"run {PLAN} --memory -1", 2, "'-1' is not a size; write it as 24GiB, 1.5GB or a number of bytes"),
    ("compare bert-tiny --memory 0", 2, "--memory 0 leaves no room for anything; give a size, as --memory 9GB"),
    (
        "profile bert-tiny --analytic h100 --memory 9GB",
        2,
        "--memory has no effect with --analytic h100, which loads nothing; leave one of them out",
    ),
    (
        "plan profile.json --memory 9GB",
        2,
        "--memory cannot change the profile in profile.json; leave it out, or name the model instead of the file",
    ),
    (
        "plan bert-tiny -o folder",
        2,
        "folder is a folder, and a file is to be written; name one in it, as folder/out.json",
    ),
    (
        "plan bert-tiny -o file/a.json",
        2,
        "file/a.json cannot be written: file is a file, no folder; choose another path",
    ),
    ("plan bert-tiny --pareto -o file", 2, "file cannot be written: file is a file, no folder; choose another path"),
    (
        "plan bert-tinny",
        2,
        "there is no model 'bert-tinny'; did you mean bert-tiny or bert-mini or bert? "
        "'partkit models' lists all; a folder is hf:DIR",
    ),
    ("plan bert-tiny --dtype int8", 2, "--dtype 'int8' is unknown; use one of float32, bfloat16, float16"),
    ("plan bert-tiny --input x", 2, "--input 'x' is not an input; write it as input_ids=1x128:int64"),
    ("plan none.json", 2, "there is no file none.json; check the path, or make it with 'partkit plan'"),
    (
        "profile bert-tiny --analytic h300",
        2,
        "there are no published figures here for a device 'h300'; did you mean h200 or h100?",
    ),
    (
        "profile bert-tiny -o folder",
        2,
        "folder is a folder, and a file is to be written; name one in it, as folder/out.json",
    ),
    ("run none.json", 2, "there is no file none.json; check the path, or make it with 'partkit plan'"),
    (f"run {PLAN} --devices one,two", 2, "--devices one,two is not a list of devices; write it as --devices 0,0,1,1"),
    (
        f"run {PLAN} --inputs none --outputs out",
        2,
        "there is no file none of items; make it with safetensors.torch.save_file",
    ),
    (
        f"run {PLAN} --inputs file --outputs folder",
        2,
        "folder is a folder, and a file is to be written; name one in it, as folder/out.json",
    ),
    (f"run {PLAN} -o folder", 2, "folder is a folder, and a file is to be written; name one in it, as folder/out.json"),
    (
        f"validate {PLAN} --profile none.json",
        2,
        "there is no file none.json; check the path, or make it with 'partkit plan'",
    ),
    (
        f"show {PLAN} --format pdf",
        2,
        "there is no format 'pdf'; the formats are table, markdown, csv, json, dot, graphml, model-explorer, "
        "model-explorer-times, model-explorer-bytes",
    ),
    (
        "compare bert-tiny --with single,fastest",
        2,
        f"there is no executor 'fastest'; choose from {', '.join(EXECUTORS)}",
    ),
    (
        f"compare {PLAN} --with mine:Own",
        2,
        "the executor mine:Own is Python code outside partkit; allow it with --allow-code",
    ),
    (
        "compare bert-tiny --with ,",
        2,
        "--with names no executor; name some of single, replicas, pipeline, split, dispatch, fsdp, deepspeed",
    ),
    (
        "compare bert-tiny --format pdf",
        2,
        "there is no format 'pdf'; the formats are table, markdown, csv, json",
    ),
    (
        "compare bert-tiny -o folder",
        2,
        "folder is a folder, and a file is to be written; name one in it, as folder/out.json",
    ),
]
ALL = """
import json, sys
from partkit_cli.main import main
from partkit_cli.output import Output
for command in json.load(sys.stdin):
    try:
        main(command.split(" "))
    except SystemExit as stop:
        print(json.dumps([stop.code, [name for name in ("torch", "transformers", "scipy") if name in sys.modules]]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


def _environment(**more):
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", **more}


def test_everything_that_can_be_is_told_before_torch_is_imported(folder):
    given = json.dumps([command for command, *_ in CHECKED])
    told = subprocess.run(
        [sys.executable, "-c", ALL], input=given, capture_output=True, text=True, check=True, env=_environment()
    )
    codes = [json.loads(line) for line in told.stdout.splitlines()]
    said = told.stderr.splitlines()
    assert list(zip(codes, said, strict=True)) == [([code, []], f"partkit: {words}") for _, code, words in CHECKED]
    assert sorted(path.name for path in folder.iterdir()) == ["file", "folder"]


@pytest.mark.timed
@pytest.mark.parametrize("command", ["plan gpt2 --stages 0", "run nope.json", "compare bert --with fastest"])
def test_a_wrong_option_is_told_within_half_a_second(folder, command):
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "partkit_cli", *command.split()],
            stderr=subprocess.DEVNULL,
            check=False,
            env=_environment(),
        )
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", ["plan bert-tiny", "profile bert-tiny", "compare bert-tiny", "validate x", "run x"])
def test_cuda_is_refused_at_once_where_there_plainly_is_none(partkit, library, monkeypatch, command):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    name, model = command.split()
    told = partkit(name, PLAN if model == "x" else model, "--device", "cuda", "-q")
    assert (told.code, told.out, library.asked) == (3, "", {})
    assert told.err == "partkit: this machine has no CUDA device that torch can use; use --device cpu\n"


def test_two_forms_of_the_same_are_refused(partkit):
    told = partkit("show", PLAN, "--format", "csv", "--json")
    assert (told.code, told.err) == (
        2,
        "partkit: --json and --format csv ask for two forms of the same; leave one of them out\n",
    )


def test_a_folder_that_may_not_be_written_to_is_told_before_planning(partkit, library, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    for options in ((), ("-o", "deep/mine.json")):
        told = partkit("plan", "bert-tiny", "-q", *options)
        assert (told.code, library.asked) == (3, {})
        assert told.err.startswith(f"partkit: {options[-1] if options else 'plans'} cannot be written: the folder ")
