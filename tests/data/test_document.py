from __future__ import annotations

import json

import pytest

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.data.document import digest
from partkit.data.model import InputSpec, ModelSpec
from partkit.data.plan import Constraints, Plan, Prediction, Stage
from partkit.data.profile import Calibration, Node, Profile
from partkit.data.reading import read_json
from partkit.data.result import Check, Latency, RunResult
from partkit.errors import FormatError

CLUSTER = {"schema_version": 1, "kind": "cluster", "devices": [{"name": "cpu0"}], "link": {"bytes_per_s": 1e9}}


def _refused(data, message):
    with pytest.raises(FormatError) as caught:
        Cluster.from_data(data, where="box.json")
    assert str(caught.value) == message


def test_a_document_is_written_and_read_back_unchanged(tmp_path):
    cluster = Cluster.from_data(CLUSTER, where="here")
    assert cluster == Cluster(devices=(Device(name="cpu0"),), link=Link(bytes_per_s=1e9))
    assert Cluster.load(cluster.save(tmp_path / "new" / "box.json")) == cluster


CLOSE = 1.23456789
TOKENS = InputSpec(name="ids", shape=(16, 512), dtype="int64", range=(0, 128256))
HASHES = InputSpec(name="hash", shape=(1,), dtype="int64", range=(2**62 + 1, 2**63))
FLOATS = InputSpec(name="x", shape=(1,), dtype="float32", range=(0.123456789, 21128.5))


def test_only_measured_and_predicted_floats_are_rounded_in_a_plan(tmp_path):
    cluster = Cluster(
        devices=(Device(name="cpu0", speed=CLOSE),),
        link=Link(bytes_per_s=123456789.0, latency_s=CLOSE),
        links=(PairLink(source=0, target=0, bytes_per_s=987654321.0),),
        shared_cores=8 / 3,
    )
    plan = Plan(
        model=ModelSpec(source="bert", inputs=(TOKENS, HASHES, FLOATS), seed=1234567, options={"scale": CLOSE}),
        stages=(Stage(index=0, devices=(0,), nodes=("a",), compute_s=CLOSE, peak_bytes=123456789),),
        prediction=Prediction(period_s=CLOSE),
        constraints=Constraints(memory_caps_bytes={"0": 25769803776}, pins={"layer.0": 0}),
        cluster=cluster,
        provenance={"given": CLOSE},
    )
    data = plan.to_data()
    assert [each["range"] for each in data["model"]["inputs"]] == [
        [0, 128256],
        [2**62 + 1, 2**63],
        [0.123456789, 21128.5],
    ]
    assert data["stages"][0]["compute_s"] == data["prediction"]["period_s"] == 1.235
    assert data["stages"][0]["peak_bytes"] == 123456789
    assert data["provenance"] == {"given": CLOSE}
    read = Plan.load(plan.save(tmp_path / "plan.json"))
    assert (read.model, read.cluster, read.constraints) == (plan.model, plan.cluster, plan.constraints)


def test_a_measured_profile_has_six_digits_and_one_from_elsewhere_its_own():
    given = Profile(nodes=(Node(name="a", time_s=CLOSE),), edges=(), calibration=Calibration(scale=CLOSE))
    assert given.to_data()["nodes"][0]["time_s"] == CLOSE
    measured = given.model_copy(update={"method": "measured"}).to_data()
    assert (measured["nodes"][0]["time_s"], measured["calibration"]["scale"]) == (1.23457, 1.23457)


def test_a_run_keeps_its_environment_exact_and_rounds_what_it_measured():
    run = RunResult(
        executor="single",
        samples_per_s=CLOSE,
        steady_samples_per_s=CLOSE,
        latency_s=Latency(p50=CLOSE, p95=CLOSE),
        items=1,
        batch=1,
        check=Check(max_abs_diff=None, tolerance=1e-4, passed=None),
        environment={"rate_per_s": CLOSE},
    ).to_data()
    assert (run["samples_per_s"], run["latency_s"]["p50"]) == (1.23457, 1.23457)
    assert run["environment"] == {"rate_per_s": CLOSE}


def test_another_kind_is_refused_by_name():
    _refused({**CLUSTER, "kind": "plan"}, "box.json is of kind 'plan', where a 'cluster' is needed")


def test_a_newer_schema_is_refused_by_number():
    _refused(
        {**CLUSTER, "schema_version": 3},
        "box.json has schema_version 3, and this partkit reads up to 1; "
        "upgrade partkit, or make the file again with this one",
    )


@pytest.mark.parametrize("version", [0, "1", True, None, 1.5])
def test_a_version_that_is_no_number_is_refused(version):
    _refused(
        {**CLUSTER, "schema_version": version},
        f"box.json has schema_version {version!r}, which is not a version number",
    )


def test_all_faults_are_told_at_once_with_their_paths():
    _refused(
        {**CLUSTER, "devices": [{"name": "a", "speed": 0}], "colour": "red"},
        "box.json is not a valid cluster: devices[0].speed of 'a': Input should be greater than 0, not 0; "
        "colour: Extra inputs are not permitted; correct the file there",
    )


def test_a_json_value_that_is_no_object_is_refused():
    _refused([1], "box.json holds a JSON list, not a cluster object")


def test_infinities_and_nan_are_refused(tmp_path):
    path = tmp_path / "box.json"
    path.write_text(json.dumps({**CLUSTER, "link": {"bytes_per_s": float("inf")}}))
    with pytest.raises(FormatError, match=r"box\.json: link\.bytes_per_s: inf is no finite number"):
        Cluster.load(path)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(FormatError) as caught:
        read_json("none.json")
    assert str(caught.value) == "there is no file none.json; check the path, or make it with 'partkit plan'"


@pytest.mark.parametrize("length", [1, 20, 60, 100])
def test_a_file_cut_short_is_said_to_be_so(tmp_path, length):
    path = tmp_path / "box.json"
    path.write_text(json.dumps(CLUSTER)[:length])
    with pytest.raises(FormatError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path} is ")
    assert str(caught.value).endswith("; make it again with 'partkit plan' or 'partkit profile'")


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
