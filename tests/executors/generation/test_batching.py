from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partkit.data.generate import Generate, Prompt
from partkit.executors.generation.batching import Batcher, LaneTurn


def written_by(batcher: Batcher, generate: Generate, ahead: int, count: int) -> None:
    """Run turns to the end; a sequence's token number n is 100 * sequence + n, known ``ahead`` turns later."""
    under_way: list[list[LaneTurn]] = [[] for _ in range(generate.lanes)]
    while len(batcher.done) < count:
        for lane in range(generate.lanes):
            turn = batcher.turn(lane)
            if turn is not None:
                under_way[lane].append(turn)
            while under_way[lane] and (turn is None or len(under_way[lane]) > ahead):
                taken = under_way[lane].pop(0)
                batcher.take(taken, [_token(row.writing, row.start + row.count) for row in taken.rows])


def _token(writing: object, place: int) -> int:
    return 0 if writing is None else 100 * writing.number + place - len(writing.prompt)  # type: ignore[attr-defined]


@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=9),
    lanes=st.integers(1, 3),
    rows=st.integers(1, 3),
    ahead=st.integers(0, 3),
    stop_at=st.integers(0, 8),
)
def test_every_prompt_is_continued_once_to_its_length_or_its_stop(
    lengths: list[tuple[int, int]], lanes: int, rows: int, ahead: int, stop_at: int
) -> None:
    generate = Generate(max_length=16, sequences=lanes * rows, lanes=lanes, chunk=4)
    prompts = [Prompt(tokens=tuple(range(1, length + 1)), max_new_tokens=new) for length, new in lengths]
    told: list[tuple[int, int]] = []
    stops = frozenset(100 * number + stop_at for number in range(len(prompts)))
    batcher = Batcher(generate, prompts, stops=stops, tell=lambda number, token: told.append((number, token)))
    written_by(batcher, generate, ahead, len(prompts))
    for number, (_, new) in enumerate(lengths):
        count = min(new, stop_at + 1)
        assert batcher.done[number].tokens == [100 * number + place for place in range(count)]
        assert batcher.done[number].finish == ("stop" if stop_at < new else "length")
        assert [token for each, token in told if each == number] == batcher.done[number].tokens


def test_a_turn_takes_prompts_in_chunks_beside_rows_that_write() -> None:
    generate = Generate(max_length=16, sequences=2, chunk=4)
    prompts = [Prompt(tokens=(1,), max_new_tokens=3), Prompt(tokens=(1, 2, 3, 4, 5, 6), max_new_tokens=1)]
    batcher = Batcher(generate, prompts)
    turns = [batcher.turn(0) for _ in range(3)]
    assert [turn.width for turn in turns if turn] == [4, 4, 1]
    assert [[(row.start, row.count, row.gives) for row in turn.rows] for turn in turns if turn] == [
        [(0, 1, True), (0, 4, False)],
        [(1, 1, True), (4, 2, True)],
        [(2, 1, True), (0, 0, False)],
    ]


def test_a_place_is_given_to_the_next_prompt_before_the_last_token_is_known() -> None:
    batcher = Batcher(
        Generate(max_length=8, sequences=1, chunk=2), [Prompt(tokens=(1,), max_new_tokens=1) for _ in range(2)]
    )
    first, second = batcher.turn(0), batcher.turn(0)
    assert first is not None
    assert second is not None
    assert [turn.rows[0].writing.number for turn in (first, second) if turn.rows[0].writing] == [0, 1]
    assert batcher.turn(0) is None
