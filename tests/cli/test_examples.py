"""The examples of every ``--help``: each is a command line that is understood, and each that can be is run.

They are run in one folder, where one uses what others wrote, with the smallest model of the family that they
name.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.main import get_command

from partkit.data.cluster import Cluster
from partkit.data.device_calibration import DeviceCalibration
from partkit.data.examination import Examination
from partkit.data.profile import ProfiledDevice
from partkit.data.result import Comparison, RunResult
from partkit.planners import plan_as_asked
from partkit.ranks import fork_client
from partkit.runs import calibrate, compare, item_files, machine_cluster, profile_model, run, run_under_load, tune
from partkit.runs.doctor import examine
from partkit_cli.help_text import split_examples
from partkit_cli.main import app, main

from .conftest import GOLDEN

SMALL = {"bert": "bert-tiny", "llama-7b": "llama-tiny", "x=8x3x224x224:float32": "x=8x3x8x8:float32"}
NET = """
import torch

def make_net():
    return Net()

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(8)))

    def forward(self, x):
        return self.layers(x)
"""
NOT_RUN = {
    "torchrun --nnodes 2 --nproc-per-node 2 ... -m partkit_cli run plans/bert4.json": "needs two hosts",
}
BY_COMMAND = {
    (command.name or command.callback.__name__.rstrip("_")): split_examples(command.callback.__doc__ or "")[2]
    for command in app.registered_commands
}
EXAMPLES = [line for lines in BY_COMMAND.values() for line in lines]
ORDER = (
    *("profile", "plan", "simulate", "run", "compare", "show", "diff", "validate"),
    *("export", "import", "report", "advise", "doctor", "cluster", "models", "help"),
)
"""In which each finds the files that it names. Examples of a command that is not here are understood and not run."""


def arguments_of(line: str) -> list[str]:
    """What partkit is given: without the launcher before it and what the shell does with its output."""
    line = line.partition(" > ")[0].partition(" | ")[0]
    if line.startswith("torchrun "):
        return shlex.split(line.partition(" -m partkit_cli ")[2])
    program, *arguments = shlex.split(line)
    assert program == "partkit"
    return arguments


@pytest.mark.parametrize("line", EXAMPLES)
def test_each_example_is_a_command_line_that_is_understood(line):
    name, *arguments = arguments_of(line)
    group = get_command(app)
    command = group.get_command(group.make_context("partkit", [name]), name)
    assert command is not None
    command.make_context(name, arguments)


def test_each_command_has_examples_of_its_own():
    for name, lines in BY_COMMAND.items():
        assert lines, name
        assert all(arguments_of(line)[0] == name for line in lines), name


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Files that examples name and no example writes; a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(NET)
    config = {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 100,
    }
    (tmp_path / "my-checkpoint").mkdir()
    (tmp_path / "my-checkpoint" / "config.json").write_text(json.dumps(config))
    Cluster.load(GOLDEN / "cluster.v1.json").with_devices(8).save("cluster.json")
    save_file({"input_ids": torch.zeros(2, 1, 128, dtype=torch.int64)}, "data.safetensors")
    return tmp_path


def typed(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@pytest.fixture
def nothing_measured(monkeypatch):
    """What measures is stood in for, as ``tests/runs`` and ``.ci/run`` try it; models, plans and files are real."""
    real, kept = profile_model.profile_model, {}
    measured = RunResult.load(GOLDEN / "run.v1.json")
    sound = Comparison.load(GOLDEN / "comparison.v1.json").model_copy(update={"valid": True, "reasons": ()})
    cluster = Cluster.load("cluster.json")

    def computed(spec, *, analytic, **named):
        """Each model once."""
        key = f"{analytic} {spec.model_dump_json()}"
        if key not in kept:
            kept[key] = real(spec, analytic=analytic, **named)
        return kept[key]

    def profile_of(spec, *, analytic, **named):
        if analytic is not None:
            return computed(spec, analytic=analytic, **named)
        here = computed(spec, analytic="h100", **named)
        return here.model_copy(update={"method": "measured", "device": ProfiledDevice()})

    def plan_by_measuring(profile, cluster, request, options, *, progress):
        return tune.Tuned(plan_as_asked(profile, cluster, request), profile, is_stable=True)

    monkeypatch.setattr(profile_model, "profile_model", profile_of)
    monkeypatch.setattr(machine_cluster, "machine_cluster", lambda count, **_: cluster.with_devices(count))
    monkeypatch.setattr(run, "run_plan", lambda *_, **named: measured)
    monkeypatch.setattr(run_under_load, "run_under_load", lambda *_, **named: measured)
    monkeypatch.setattr(item_files, "run_file", lambda *_, **named: measured)
    monkeypatch.setattr(tune, "plan_by_measuring", plan_by_measuring)
    monkeypatch.setattr(compare, "compare_executors", lambda *_, **named: sound)
    healthy = Examination.load(GOLDEN / "doctor.v1.json").model_copy(update={"ok": True})
    monkeypatch.setattr(examine, "examine_machine", lambda **_: (healthy, cluster))
    timed = DeviceCalibration.load(GOLDEN / "calibration.v1.json")
    monkeypatch.setattr(calibrate, "calibrate", lambda **_: timed)
    monkeypatch.setattr(fork_client, "prepare", lambda: None)


@pytest.mark.slow
def test_each_example_runs(folder, nothing_measured, capfd):
    ran = []
    for name in ORDER:
        for line in BY_COMMAND[name]:
            if line in NOT_RUN:
                continue
            given = [SMALL.get(word, word) for word in arguments_of(line)]
            code = typed(*given)
            told = capfd.readouterr()
            assert code == 0, f"{line}: {told.err}"
            assert told.out or name == "report" or " -o device_map.json" in line, line
            ran.append(line)
            _name_as_examples_do()
    assert typed("plan", "bert-tiny", "--stages", "2", "--json") == 0
    assert json.loads(capfd.readouterr().out)["kind"] == "plan", "something else was written on stdout"
    assert set(ran) | set(NOT_RUN) == {line for name in ORDER for line in BY_COMMAND[name]}


def _name_as_examples_do() -> None:
    """Files that are called after the smaller model, or by another example, under the names that examples use."""
    for path in Path("plans").glob("bert-tiny[0-9].json") if Path("plans").is_dir() else ():
        shutil.copy(path, path.with_name(path.name.replace("-tiny", "")))
    for source, names in {
        "bert2.comparison.json": ("a.json", "b.json", "before.json", "after.json"),
        "plans/bert2.json": ("edited.json",),
    }.items():
        for name in names:
            if Path(source).is_file():
                shutil.copy(source, name)
