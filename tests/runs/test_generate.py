"""Writing over several ranks, as a program uses it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import partkit
from partkit.data.generate import Generate
from partkit.errors import RankFailedError, UsageError
from partkit.runs.generate import Generator, Piece
from tests.planned import plan_of
from tests.written import Expected, random_prompts, save_tiny, step_plan

GENERATE = Generate(max_length=40, sequences=4, lanes=2, chunk=4)
PROMPTS = random_prompts((5, 13, 8, 1, 20, 9, 3), (12, 5, 9, 12, 7, 3, 20), vocabulary=256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("models"), "llama")


@pytest.fixture(scope="module")
def generator(source: str) -> Iterator[Generator]:
    with partkit.open_generator(step_plan(source, 3, GENERATE), device="cpu") as opened:
        yield opened


def test_three_stages_write_what_transformers_writes(source: str, generator: Generator) -> None:
    expected, told = Expected(source), list[Piece]()
    made = generator.generate([each.tokens for each in PROMPTS], max_new_tokens=9, tell=told.append)
    for prompt, sequence in zip(PROMPTS, made.sequences, strict=True):
        assert sequence.tokens == expected.after(prompt.model_copy(update={"max_new_tokens": 9}))
        assert tuple(piece.token for piece in told if piece.index == sequence.index) == sequence.tokens
    assert made.tokens_per_s > 0
    assert len(made.peak_bytes) == 3


def test_a_stream_gives_the_same_tokens(generator: Generator) -> None:
    ids = PROMPTS[1].tokens
    (sequence,) = generator.generate([ids], max_new_tokens=6).sequences
    assert [piece.token for piece in generator.stream(ids, max_new_tokens=6)] == list(sequence.tokens)


def test_many_prompts_are_answered_once_and_in_order(generator: Generator) -> None:
    prompts = random_prompts([1 + n % 7 for n in range(200)], [1] * 200, vocabulary=256)
    together = generator.generate([each.tokens for each in prompts], max_new_tokens=2)
    assert [each.index for each in together.sequences] == list(range(200))
    again = generator.generate([each.tokens for each in prompts[::-1]], max_new_tokens=2)
    assert [each.tokens for each in again.sequences[::-1]] == [each.tokens for each in together.sequences]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([[1] * 30], "prompt 0 has 30 tokens, with 11 new ones 41, and the plan is for 40 at most"),
        ([[1], []], "prompt 1 has no tokens"),
        ([[1, 256]], "prompt 0 holds the token 256, and the model has 0 to 255"),
        (["a text"], "comes with no tokenizer"),
    ],
)
def test_prompts_that_cannot_be_continued_are_refused(generator: Generator, prompts: list, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        generator.generate(prompts, max_new_tokens=11)


def test_a_plan_of_whole_items_writes_nothing() -> None:
    with pytest.raises(UsageError, match="takes whole items and writes no text; plan it with 'partkit plan bert-tiny"):
        partkit.open_generator(plan_of("bert-tiny", 2), device="cpu")


def test_a_plan_that_writes_runs_no_items(source: str) -> None:
    with pytest.raises(UsageError, match="writes text, and pipeline takes whole items; use 'partkit generate'"):
        partkit.run_plan(step_plan(source, 1, GENERATE))


def test_a_rank_that_is_killed_ends_the_rest(source: str) -> None:
    with partkit.open_generator(step_plan(source, 2, GENERATE), device="cpu") as opened:
        pids = opened.pids()

        def kill(_: Piece) -> None:
            os.kill(pids[1], signal.SIGKILL)

        with pytest.raises(RankFailedError, match="rank 1"):
            opened.generate([each.tokens for each in PROMPTS] * 50, max_new_tokens=20, tell=kill)
