"""Documents that nobody's partkit wrote: one sentence and exit code 2, in bounded time and memory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from partkit.data.files import load_document
from partkit.data.reading import MOST_BYTES
from partkit.errors import FormatError, WeightsError
from partkit.models.checkpoint import read_header
from partkit.models.sources.hf_config import read_config
from partkit_cli.main import main

GOLDEN = Path(__file__).parent.parent / "golden"
PLAN = json.loads((GOLDEN / "plan.v1.json").read_text())
PROFILE = json.loads((GOLDEN / "profile.v1.json").read_text())
CLUSTER = json.loads((GOLDEN / "cluster.v1.json").read_text())
LONG = 2_000_000


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def profile_of(names: list[str]) -> str:
    return json.dumps({"kind": "profile", "nodes": [{"name": name, "time_s": 0} for name in names], "edges": []})


HOSTILE = {
    "deep": (nested(60_000), "is nested more than 64 deep"),
    "deep provenance": (json.dumps({**PLAN, "provenance": json.loads(nested(70))}), "is nested more than 64 deep"),
    "5,000 digits": (
        '{"kind": "plan", "schema_version": ' + "9" * 5000 + "}",
        "has a whole number of thousands of digits",
    ),
    "10^400": (
        '{"kind": "profile", "parameters": {"w": ' + "1" + "0" * 400 + "}}",
        ": parameters.w: a whole number of 401 digits is too large: 2^64 is the most",
    ),
    "1e400": ('{"kind": "cluster", "link": {"bytes_per_s": 1e400}}', ": link.bytes_per_s: inf is no finite number"),
    "NaN": ('{"kind": "plan", "provenance": {"a": [NaN]}}', ": provenance.a[0]: nan is no finite number"),
    "surrogate": (
        '{"kind": "profile", "nodes": [{"name": "\\ud800"}]}',
        ": nodes[0].name: '\\ud800' has half a character in it (a lone surrogate)",
    ),
    "long kind": (json.dumps({"kind": "k" * LONG}), " is not a partkit file: its kind is 'kkkkkkk"),
    "duplicates": (
        profile_of(["twice"] * 30_000),
        " is not a valid profile: nodes named more than once: twice; correct the file there",
    ),
    "nodes": (profile_of([f"n{i}" for i in range(100_001)]), " has 100,001 nodes, and 100,000 is the most"),
    "stages": (json.dumps({**PLAN, "stages": [{}] * 200_000}), " has 200,000 stages, and 10,000 is the most"),
    "devices": (
        json.dumps({**CLUSTER, "devices": [{"name": "d"}] * 100_000}),
        " has 100,000 devices, and 10,000 is the most",
    ),
    "values": ('{"kind": "plan", "x": [' + "1," * 4_100_000 + "1]}", " holds about 4,100,003 values"),
    "very many faults": (
        json.dumps({**PLAN, "stages": [{**PLAN["stages"][0], "sends": [{}] * 200_000}]}),
        " is not a valid plan: 800,001 values are wrong or missing",
    ),
    "many faults": (
        json.dumps({**PROFILE, "nodes": [{"name": "n" * 1000, "time_s": "x" * 1000}] * 20_000}),
        "; and 19,992 more; correct the file there",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_in_one_sentence_of_bounded_length(name: str, tmp_path: Path) -> None:
    text, message = HOSTILE[name]
    path = tmp_path / "hostile.json"
    path.write_text(text)
    with pytest.raises(FormatError) as raised:
        load_document(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)
    assert len(str(raised.value)) < 5000
    assert raised.value.exit_code == 2


@pytest.mark.timed
def test_no_hostile_document_takes_five_seconds(tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    for name, (text, _) in HOSTILE.items():
        path.write_text(text)
        began = time.process_time()
        with pytest.raises(FormatError):
            load_document(path)
        assert time.process_time() - began < 5, name


def test_what_is_no_file_or_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe", tmp_path / "huge.json"
    os.mkfifo(pipe)
    huge.touch()
    os.truncate(huge, MOST_BYTES + 1)
    for path, message in [
        (pipe, f"{pipe} is a pipe and no file; save its content and name that"),
        (Path("/dev/zero"), "/dev/zero is a device and no file; save its content and name that"),
        (tmp_path, f"{tmp_path} is a folder and no file; save its content and name that"),
        (huge, f"{huge} has 67.1 MB, and at most 67.1 MB are read; check that it is the right file"),
        (tmp_path / "a\0b", f"{tmp_path}/a\0b cannot be read: embedded null byte"),
    ]:
        with pytest.raises(FormatError) as raised:
            load_document(path)
        assert str(raised.value) == message


@pytest.mark.parametrize("command", ["show", "validate", "run", "compare", "plan"])
def test_every_command_that_reads_a_document_refuses_a_device(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "/dev/zero"])
    told = capsys.readouterr()
    assert (stop.value.code, told.out) == (2, "")
    assert told.err.startswith("partkit: ")
    assert "fault in partkit" not in told.err


def with_value(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of the document with another value at ``devices.0.speed`` or the like."""
    copy: Any = json.loads(json.dumps(document))
    found = copy
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        found = found[part]
    found[last] = value
    return copy  # type: ignore[no-any-return]


OUT_OF_RANGE = [
    (PROFILE, "nodes.1.time_s", 1e308, "0, or 1e-18 to 1e+09 s is meant"),
    (PROFILE, "nodes.1.time_s", 1e-320, "0, or 1e-18 to 1e+09 s is meant"),
    (CLUSTER, "devices.0.speed", 1e308, "1e-06 to 1e+06 is meant"),
    (CLUSTER, "devices.0.speed", 1e-320, "1e-06 to 1e+06 is meant"),
    (CLUSTER, "link.bytes_per_s", 1e-320, "0.001 to 1e+18 bytes/s is meant"),
    (CLUSTER, "link.latency_s", 1e308, "0, or 1e-18 to 1e+09 s is meant"),
    (PLAN, "cluster.devices.0.speed", 1e300, "1e-06 to 1e+06 is meant"),
]


@pytest.mark.parametrize(("document", "path", "value", "meant"), OUT_OF_RANGE)
def test_times_and_rates_beyond_arithmetic_are_refused(
    document: dict[str, Any], path: str, value: float, meant: str, tmp_path: Path
) -> None:
    file = tmp_path / "extreme.json"
    file.write_text(json.dumps(with_value(document, path, value)))
    with pytest.raises(FormatError) as raised:
        load_document(file)
    assert f"{value:g} is out of range: {meant}" in raised.value.message


def told_of(capsys: Any, *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, capsys.readouterr().err


def test_a_plan_without_a_node_of_its_profile_is_told_in_show_too(tmp_path: Path, capsys: Any) -> None:
    plan, profile = tmp_path / "plan.json", str(GOLDEN / "profile.v1.json")
    nodes = PLAN["stages"][0]["nodes"]
    plan.write_text(json.dumps(with_value(PLAN, "stages.0.nodes", nodes[:-1])))
    message = (
        f"partkit: the plan does not fit its profile: node {nodes[-1]!r} stands in no stage; edit it or plan again\n"
    )
    for command in ("show", "validate"):
        assert told_of(capsys, command, str(plan), "--profile", profile) == (2, message)


def test_comparisons_with_rates_of_zero_are_joined_without_a_verdict(tmp_path: Path, capsys: Any) -> None:
    comparison = json.loads((GOLDEN / "comparison.v1.json").read_text())
    for row in comparison["rows"]:
        row["samples_per_s"] = 0
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(comparison))
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--from", str(path), "--from", str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (stop.value.code, told["verdict"]["text"]) == (7, "No executor gave a result that can be trusted.")


PINS = {
    "(a+)+$": "--pin '(a+)+$' matches no node; give the start of a module path, as 'encoder.layer.0'",
    "(?=a)b": "--pin '(?=a)b' looks around, refers back or is too large; write it without (?=, (?!, (?<, \\1 and large "
    "repetitions, as several options if need be",
    "(a{1000}){1000}": "--pin '(a{1000}){1000}' looks around, refers back or is too large; write it without (?=, (?!, "
    "(?<, \\1 and large repetitions, as several options if need be",
    "(" * 5000
    + ")" * 5000: "--pin '(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((... (10,000 characters) "
    "is not a regular expression: maximum recursion depth exceeded",
}


@pytest.mark.parametrize("pin", PINS, ids=len)
def test_no_expression_takes_for_ever(pin: str, tmp_path: Path, capsys: Any) -> None:
    nodes = [{"name": f"n{i}", "time_s": 1e-3, "module": "a" * 40 + "!"} for i in range(20)]
    path, edges = tmp_path / "profile.json", [[f"n{i}", f"n{i + 1}"] for i in range(19)]
    path.write_text(json.dumps({"kind": "profile", "nodes": nodes, "edges": edges}))
    box = str(GOLDEN / "cluster.v1.json")
    began = time.process_time()
    code, told = told_of(capsys, "plan", str(path), "--cluster", box, "--stages", "2", "--pin", f"{pin}=0")
    assert (code, told.removeprefix("partkit: ").startswith(PINS[pin])) == (2, True), told
    assert time.process_time() - began < 5


CONFIGS = {
    "auto_map": (5, "auto_map is 5, and an object is meant"),
    "model_type": ([], "model_type is [], and a text is meant"),
    "architectures": ("BertModel", "architectures is 'BertModel', and a list is meant"),
    "num_hidden_layers": (10**9, "num_hidden_layers is 1,000,000,000, and 100,000 is the most"),
    "text_config": ({"n_layer": 10**9}, "n_layer is 1,000,000,000, and 100,000 is the most"),
    "num_labels": (10**9, "num_labels is 1,000,000,000, and 100,000 is the most"),
    "x": (json.loads(nested(80)), "is nested more than 64 deep"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_config_is_refused_before_anything_is_built(name: str, tmp_path: Path) -> None:
    value, message = CONFIGS[name]
    config = {"model_type": "bert", "architectures": ["BertModel"], name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError) as raised:
        read_config(tmp_path)
    assert message in raised.value.message


HEADERS = {
    "negative": ({"x": {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]}}, "'x' has the shape [-1, -4]"),
    "backwards": ({"x": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, "lies at bytes 16 to 0"),
    "huge": ({"x": {"dtype": "F32", "shape": [2**63], "data_offsets": [0, 16]}}, "has the shape [9223372036854775808]"),
    "dtype": (
        {"x": {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}},
        "the dtype 'F33', which",
    ),
    "kind": (
        {"x": {"dtype": 7, "shape": [4], "data_offsets": [0, 16]}},
        "the dtype 7, which",
    ),
    "entry": ({"x": 5}, "isn't a safetensors file: its header can't be read"),
    "floats": ({"x": {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}}, "has the shape [4.0]"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_safetensors_header_is_refused(name: str, tmp_path: Path) -> None:
    header, message = HEADERS[name]
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(WeightsError) as raised:
        read_header(path)
    assert message in raised.value.message


def test_a_pipe_in_the_place_of_weights_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "model.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(WeightsError) as raised:
        read_header(pipe)
    assert str(raised.value) == f"{pipe} is a folder, a pipe or a device, and a safetensors file is needed"
