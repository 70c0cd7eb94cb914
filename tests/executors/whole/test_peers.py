import pytest
from torch import nn

from partkit.errors import UnsupportedError
from partkit.executors.pipeline.replicas import unsplit
from partkit.executors.whole.peers import faults_are_reasons, one_line
from partkit.executors.whole.torch_pipelining import even_layers
from partkit.executors.whole.tp import styles_for
from partkit.models.sources import load_model, parse_model
from tests.planned import plan_of


def module_of(source: str) -> nn.Module:
    module = load_model(parse_model(source)).module
    assert module is not None
    return module


def test_a_peer_s_fault_becomes_a_reason_with_its_own_words_and_their_cause() -> None:
    fault = RuntimeError("cannot run forward:\n  args")
    fault.__cause__ = KeyError("layer")
    with pytest.raises(UnsupportedError) as raised, faults_are_reasons("peer"):
        raise fault
    assert str(raised.value) == "peer: RuntimeError: cannot run forward (KeyError: 'layer')"
    assert one_line(ValueError()) == "ValueError"


def test_a_plan_made_whole_has_all_nodes_in_one_stage_on_every_device() -> None:
    plan = plan_of("bert-tiny", 2)
    whole = unsplit(plan, (0, 1))
    assert [stage.devices for stage in whole.stages] == [(0, 1)]
    assert set(whole.stages[0].nodes) == set(plan.stage_by_node)


def test_blocks_are_cut_by_columns_then_by_rows() -> None:
    styles = styles_for(module_of("bert-tiny"), 2)
    layer = "bert.encoder.layer.0."
    assert {path.removeprefix(layer): type(style).__name__ for path, style in styles.items() if "layer.0" in path} == {
        "attention.self.query": "ColwiseParallel",
        "attention.self.key": "ColwiseParallel",
        "attention.self.value": "ColwiseParallel",
        "attention.output.dense": "RowwiseParallel",
        "intermediate.dense": "ColwiseParallel",
        "output.dense": "RowwiseParallel",
    }
    assert len(styles) == 12, "nothing outside the two layers"


@pytest.mark.parametrize(
    ("source", "num_ranks", "reason"),
    [
        ("bert-tiny", 4, "num_attention_heads = 2 cannot be divided among 4 ranks"),
        (
            "gpt2",
            2,
            "no tensor-parallel plan is known for transformers' 'gpt2'; known: bert, vit, llama, mistral, qwen2, t5",
        ),
    ],
)
def test_tensor_parallelism_refuses_what_it_cannot_cut(source: str, num_ranks: int, reason: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        styles_for(module_of(source), num_ranks)
    assert str(raised.value) == reason


def test_fewer_layers_than_stages_cannot_be_pipelined_by_layers() -> None:
    with pytest.raises(UnsupportedError) as raised:
        even_layers(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), 3)
    assert str(raised.value) == "the model has 2 repeated layers, and 3 stages need one each"
