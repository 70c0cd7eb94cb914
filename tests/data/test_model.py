from __future__ import annotations

from partkit.data.model import InputSpec, ModelSpec

IDS = InputSpec(name="input_ids", shape=(4, 128), dtype="int64")


def test_an_input_reads_as_on_the_command_line():
    assert str(IDS) == "input_ids=4x128:int64"


def test_the_batch_is_the_first_input_s_leading_dimension():
    assert ModelSpec(source="bert", inputs=(IDS,)).batch == 4
    assert ModelSpec(source="bert").batch == 1
    assert ModelSpec(source="bert", inputs=(InputSpec(name="t", shape=(), dtype="int64"),)).batch == 1


def test_only_a_bare_graph_cannot_be_run():
    assert ModelSpec(source="graph:diamond").is_graph
    assert not ModelSpec(source="bert").is_graph
