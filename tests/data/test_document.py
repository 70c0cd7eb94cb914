from __future__ import annotations

import json

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.document import digest, read_json, write_text_atomically
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


def test_floats_are_written_with_the_document_s_digits():
    cluster = Cluster(devices=(Device(name="cpu0", speed=1.23456789),), link=Link(bytes_per_s=123456789.0))
    assert cluster.to_data()["devices"][0]["speed"] == 1.23457
    assert cluster.to_data()["link"]["bytes_per_s"] == 123457000.0


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
    with pytest.raises(FormatError, match=r"link\.bytes_per_s: Input should be a finite number"):
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


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text_atomically(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
