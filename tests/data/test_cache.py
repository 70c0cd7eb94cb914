"""What is kept is used only where it is what was asked for, and belongs to its user alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from partkit.data.cache import cache_folder, find_kept, find_profile, keep, keep_profile
from partkit.data.cluster import Cluster
from partkit.data.files import load_document
from partkit.data.orders import ProfileModel
from partkit.data.profile import Profile
from partkit.data.replies import Profiled
from partkit.runs import profile_model as workflow

GOLDEN = Path(__file__).parent.parent / "golden"
PROFILE = Profile.load(GOLDEN / "profile.v1.json")
REQUEST = {"model": {"source": "bert-tiny"}, "threads": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "partkit"


def change_kept(folder, before, after):
    """Change what the cache holds, as somebody who can write there would."""
    (path,) = folder.glob("*.json")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_what_was_kept_for_a_request_is_found_for_that_request_alone():
    keep(PROFILE, REQUEST)
    assert find_kept(Profile, REQUEST) == PROFILE
    assert find_kept(Profile, REQUEST | {"threads": 2}) is None
    assert find_kept(Cluster, REQUEST) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"source": "bert-tiny"', '"source": "py:evil:make"'),
        ('"threads": 1', '"threads": 2'),
        ('"kind": "profile"', '"kind": "profil"'),
        ("{", "["),
    ],
)
def test_what_was_changed_in_the_cache_is_as_good_as_absent(folder, before, after):
    keep(PROFILE, REQUEST)
    change_kept(folder, before, after)
    assert find_kept(Profile, REQUEST) is None


def test_a_profile_is_found_under_its_own_digest_only(folder):
    keep_profile(PROFILE)
    assert find_profile(PROFILE.sha256) == PROFILE
    change_kept(folder, '"source": "bert-tiny"', '"source": "py:evil:make"')
    assert find_profile(PROFILE.sha256) is None
    assert find_profile("0" * 64) is None


def test_the_cache_is_its_user_s_own_even_where_it_was_open_before(folder):
    folder.mkdir(mode=0o755)
    assert stat.S_IMODE(cache_folder("modules").stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class Measuring:
    """Stands for a rank that profiles: writes the profile of the model that it was asked for."""

    times = 0

    def __init__(self, job):
        self.job = job

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def call(self, order, *, while_waiting=None):
        if isinstance(order, ProfileModel):
            Measuring.times += 1
            PROFILE.model_copy(update={"model": self.job.model, "method": "measured"}).save(order.path)
        return [Profiled(num_nodes=len(PROFILE.nodes))]


def test_a_kept_profile_of_another_model_is_measured_again(folder, monkeypatch):
    monkeypatch.setattr(workflow, "RankGroup", Measuring)
    monkeypatch.setattr(Measuring, "times", 0)
    measured = workflow.profile_model("bert-tiny")
    assert workflow.profile_model("bert-tiny") == measured
    assert Measuring.times == 1
    for path in folder.glob("*.json"):
        path.write_text(path.read_text().replace('"source": "bert-tiny"', '"source": "py:evil:make"'))
    assert workflow.profile_model("bert-tiny").model.source == "bert-tiny"
    assert Measuring.times == 2
    for path in folder.glob("kept-*.json"):  # as who knows how the digest is made would
        kept = json.loads(path.read_text())
        evil = measured.model_copy(update={"model": measured.model.model_copy(update={"source": "py:evil:make"})})
        path.unlink()
        keep(evil, kept["request"])
    assert workflow.profile_model("bert-tiny").model.source == "bert-tiny"
    assert Measuring.times == 3


def test_documents_are_written_as_the_umask_says(tmp_path, monkeypatch):
    import os

    document = load_document(GOLDEN / "plan.v1.json")
    before = os.umask(0o077)
    try:
        assert stat.S_IMODE(document.save(tmp_path / "own.json").stat().st_mode) == 0o600
        os.umask(0o022)
        assert stat.S_IMODE(document.save(tmp_path / "all.json").stat().st_mode) == 0o644
    finally:
        os.umask(before)
