from __future__ import annotations

import pytest

from partkit.data.profile import Profile
from partkit.errors import FormatError

GRAPH = {
    "schema_version": 1,
    "kind": "profile",
    "nodes": [{"name": "a", "time_s": 1.0}, {"name": "b", "time_s": 2.0}],
    "edges": [["a", "b"]],
}


def test_a_graph_from_elsewhere_needs_only_names_times_and_edges():
    profile = Profile.from_data(GRAPH, where="g.json")
    assert profile.model.is_graph
    assert profile.method == "given"
    assert profile.nodes[0].param_bytes == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"edges": [["a", "c"]]}, "edge ['a', 'c'] names 'c', which is no node"),
        (
            {"nodes": [*GRAPH["nodes"], {"name": "a", "time_s": 0}]},
            "nodes named more than once: a",
        ),
        (
            {"nodes": [{"name": "a", "time_s": -1}], "edges": []},
            "nodes[0].time_s of 'a': Input should be greater than or equal to 0, not -1",
        ),
    ],
)
def test_a_graph_that_is_not_one_is_refused(change, fault):
    with pytest.raises(FormatError) as caught:
        Profile.from_data({**GRAPH, **change}, where="g.json")
    assert str(caught.value) == f"g.json is not a valid profile: {fault}; correct the file there"


def test_the_digest_ignores_provenance_alone():
    profile = Profile.from_data(GRAPH, where="g.json")
    assert profile.model_copy(update={"provenance": {"host": "x"}}).sha256 == profile.sha256
    assert profile.model_copy(update={"method": "analytic"}).sha256 != profile.sha256
