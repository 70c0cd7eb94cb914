"""Writing text on CUDA: ``pytest -m gpu`` on a machine with two GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.generate import Generate, Sampling
from partkit.machine.devices import num_cuda_devices
from partkit.runs.generate import open_generator
from tests.written import CONFIGS, Expected, random_prompts, save_tiny, step_plan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(num_cuda_devices() < 2, reason="needs two CUDA devices"),
]


@pytest.mark.parametrize("peer_access", [True, False], ids=["peers", "no peers"])
def test_two_gpus_write_what_transformers_writes(
    peer_access: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0" if peer_access else "1")
    source = save_tiny(tmp_path, "llama")
    expected = Expected(source)
    prompts = random_prompts([5, 13, 8, 1, 20, 9] * 5, [10] * 30, vocabulary=256)
    for lanes in (1, 2, 4):
        generate = Generate(max_length=40, sequences=4, lanes=lanes, chunk=4)
        with open_generator(step_plan(source, 2, generate), device="cuda") as generator:
            assert generator.notes == ()
            made = generator.generate([each.tokens for each in prompts], max_new_tokens=10)
            assert [each.tokens for each in made.sequences] == [expected.after(each) for each in prompts]
            stops = made.sequences[0].tokens[3:5]
            again = generator.generate([each.tokens for each in prompts], max_new_tokens=10, stops=stops)
            assert [each.tokens for each in again.sequences] == [expected.after(each, stops=stops) for each in prompts]


@pytest.mark.parametrize("model_type", CONFIGS)
def test_each_kind_of_decoder_writes_on_two_gpus(model_type: str, tmp_path: Path) -> None:
    source = save_tiny(tmp_path, model_type)
    expected = Expected(source)
    prompts = random_prompts([5, 13, 8, 1, 20, 9], [10] * 6, vocabulary=256)
    generate = Generate(max_length=40, sequences=4, lanes=2, chunk=4)
    with open_generator(step_plan(source, 2, generate), device="cuda") as generator:
        made = generator.generate([each.tokens for each in prompts], max_new_tokens=10)
        assert [each.tokens for each in made.sequences] == [expected.after(each) for each in prompts]


def test_drawn_tokens_do_not_depend_on_the_device_and_the_lanes(tmp_path: Path) -> None:
    source = save_tiny(tmp_path, "llama")
    prompts = [each.tokens for each in random_prompts([5, 13, 8, 1], [10] * 4, vocabulary=256)]
    sampling = Sampling(temperature=0.8, top_k=30, top_p=0.9, seed=3)
    drawn = []
    for device, num_stages, lanes in (("cuda", 2, 2), ("cuda", 1, 1), ("cpu", 1, 1)):
        generate = Generate(max_length=40, sequences=2, lanes=lanes, chunk=8)
        with open_generator(step_plan(source, num_stages, generate), device=device) as generator:
            made = generator.generate(prompts, max_new_tokens=10, sampling=sampling)
            drawn.append([each.tokens for each in made.sequences])
    assert drawn[0] == drawn[1] == drawn[2]
