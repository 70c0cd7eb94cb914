"""One stage in this process: what is written is what transformers itself writes, for each kind of decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from partkit.data.generate import Generate, Sampling
from partkit.executors.generation.executor import GenerationExecutor
from partkit.executors.protocol import RankContext
from partkit.ranks.run_options import RunOptions, job_of
from tests.executors.generation.test_choice import reference_draw
from tests.written import CONFIGS, Expected, random_prompts, save_tiny, step_plan

GENERATE = Generate(max_length=40, sequences=4, lanes=2, chunk=4)
PROMPTS = random_prompts((5, 13, 8, 1, 20, 9), (12, 5, 9, 12, 7, 3), vocabulary=256)


def alone(source: str, generate: Generate = GENERATE) -> GenerationExecutor:
    job = job_of(step_plan(source, 1, generate), "generate", RunOptions(device="cpu"))
    executor = GenerationExecutor(RankContext(job, 0, 1, torch.device("cpu"), cast("Any", None)))
    executor.load()
    return executor


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("models"), "llama")


@pytest.fixture(scope="module")
def executor(llama: str) -> GenerationExecutor:
    """One for all tests: it writes as it did before, whatever it wrote meanwhile."""
    return alone(llama)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_greedy_tokens_are_those_of_transformers(model_type: str, tmp_path: Path) -> None:
    source = save_tiny(tmp_path, model_type)
    written = alone(source).write(PROMPTS, Sampling(), frozenset(), None)
    expected = Expected(source)
    assert [each.tokens for each in written] == [expected.after(prompt) for prompt in PROMPTS]
    assert len({token for each in written for token in each.tokens}) > 8  # nothing that a broken cache would write too


def test_a_stop_token_ends_a_sequence_and_frees_its_place(llama: str, executor: GenerationExecutor) -> None:
    expected = Expected(llama)
    first = expected.after(PROMPTS[0])
    stops = (first[3], first[6])
    told: list[tuple[int, int]] = []
    for ahead in (0, 2):
        executor.be_ahead(ahead)
        told.clear()
        written = executor.write(PROMPTS * 2, Sampling(), frozenset(stops), lambda *each: told.append(each))
        assert [each.tokens for each in written] == [expected.after(prompt, stops=stops) for prompt in PROMPTS * 2]
        assert written[0].finish == "stop"
        for number, each in enumerate(written):
            assert tuple(token for one, token in told if one == number) == each.tokens


def test_drawn_tokens_are_those_of_a_seeded_reference(llama: str, executor: GenerationExecutor) -> None:
    sampling = Sampling(temperature=0.8, top_k=20, top_p=0.9, seed=5)
    how = {"temperature": 0.8, "top_k": 20, "top_p": 0.9}
    written, expected = executor.write(PROMPTS, sampling, frozenset(), None), Expected(llama)
    for number, (prompt, each) in enumerate(zip(PROMPTS, written, strict=True)):
        tokens = list(prompt.tokens)
        for _ in range(prompt.max_new_tokens):
            tokens.append(reference_draw(expected.logits(tokens).tolist(), 5, number, len(tokens), **how))
        assert each.tokens == tuple(tokens[len(prompt.tokens) :])


def test_what_is_written_does_not_depend_on_lanes_and_places(llama: str, executor: GenerationExecutor) -> None:
    sampling = Sampling(temperature=1.0, seed=3)
    several = executor.write(PROMPTS, sampling, frozenset(), None)
    single = alone(llama, Generate(max_length=40, sequences=1, chunk=16)).write(PROMPTS, sampling, frozenset(), None)
    assert [each.tokens for each in several] == [each.tokens for each in single]


def test_as_many_tokens_as_the_plan_allows(llama: str, executor: GenerationExecutor) -> None:
    (prompt,) = random_prompts((7,), (33,), vocabulary=256)
    (written,) = executor.write([prompt], Sampling(), frozenset(), None)
    assert written.tokens == Expected(llama).after(prompt)
