"""Which sequence stands in which row of which lane, and what each turn takes of it; knows of no device.

A lane is a group of rows that go through the stages together. A turn takes, of every row that has a sequence, either
the next piece of its prompt or the token that its last turn gave. A row whose sequence ends is given the next prompt
that waits.

    lane 0   row 0   [prompt 0 ........][5 new tokens][prompt 2 ...][new ...
             row 1   [prompt 1 ...][8 new tokens ........][prompt 3 .....
    turn               0    1    2    3    4    5

How many tokens a sequence has is known when a turn is made, what they are only later: turns may be made ahead of the
tokens, and where one then turns out to be a stop token, what was made after it is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from partkit.data.generate import Generate, Prompt


@dataclass
class Writing:
    """A sequence under way."""

    number: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    num_taken: int = 0
    """Tokens that turns have taken, prompt and new ones."""
    num_made: int = 0
    """New tokens that turns will have given."""
    tokens: list[int] = field(default_factory=list)
    """New tokens that are known."""
    finish: str = ""

    @property
    def left_of_prompt(self) -> int:
        """Tokens of the prompt that no turn has taken."""
        return max(len(self.prompt) - self.num_taken, 0)


@dataclass(frozen=True)
class RowTurn:
    """What a turn takes of a row: ``count`` tokens from position ``start`` on; 0 of a row without a sequence."""

    writing: Writing | None = None
    start: int = 0
    tokens: tuple[int, ...] = ()
    """Of the prompt; empty where the row goes on with the token that its last turn gave."""
    gives: bool = False
    """Whether the turn gives the sequence's next token: not before the end of its prompt."""

    @property
    def count(self) -> int:
        """Tokens that the turn takes of the row."""
        return 0 if self.writing is None else max(len(self.tokens), 1)


@dataclass(frozen=True)
class LaneTurn:
    """One step of a lane."""

    lane: int
    step: int
    """How many turns of the lane came before."""
    width: int
    """Tokens that the step takes of each row at most: 1, or a chunk."""
    rows: tuple[RowTurn, ...]


class Batcher:
    """Deals prompts to rows and makes the lanes' turns.

    >>> batcher = Batcher(Generate(max_length=8, sequences=1, chunk=2), [Prompt(tokens=(7, 8, 9), max_new_tokens=2)])
    >>> [(turn.width, turn.rows[0].tokens, turn.rows[0].gives) for turn in iter(lambda: batcher.turn(0), None)]
    [(2, (7, 8), False), (1, (9,), True), (1, (), True)]
    """

    def __init__(
        self,
        generate: Generate,
        prompts: Iterable[Prompt],
        *,
        stops: frozenset[int] = frozenset(),
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        """``tell`` hears of each new token that stays, with its sequence's number, in each sequence's order."""
        self._generate, self._stops, self._tell = generate, stops, tell
        self._waiting = deque(
            Writing(number, prompt.tokens, prompt.max_new_tokens) for number, prompt in enumerate(prompts)
        )
        self._rows: list[list[Writing | None]] = [[None] * generate.rows for _ in range(generate.lanes)]
        self._steps = [0] * generate.lanes
        self.done: dict[int, Writing] = {}
        """Sequences that have ended, by number."""

    def turn(self, lane: int) -> LaneTurn | None:
        """The lane's next turn; None where it has nothing to do."""
        rows = self._rows[lane]
        for place, writing in enumerate(rows):
            if writing is None and self._waiting:
                rows[place] = self._waiting.popleft()
        if not any(rows):
            return None
        is_long = any(writing is not None and writing.left_of_prompt > 1 for writing in rows)
        width = self._generate.chunk if is_long else 1
        made = tuple(RowTurn() if writing is None else self._take(writing, width) for writing in rows)
        for place, writing in enumerate(rows):
            if writing is not None and (writing.finish or writing.num_made == writing.max_new_tokens):
                rows[place] = None
        self._steps[lane] += 1
        return LaneTurn(lane, self._steps[lane] - 1, width, made)

    def take(self, turn: LaneTurn, tokens: Sequence[int]) -> None:
        """Note what a turn gave, row by row; a lane's turns come in order."""
        for row, token in zip(turn.rows, tokens, strict=True):
            writing = row.writing
            if writing is None or not row.gives or writing.finish:
                continue
            writing.tokens.append(token)
            if self._tell is not None:
                self._tell(writing.number, token)
            if token in self._stops:
                writing.finish = "stop"
            elif len(writing.tokens) == writing.max_new_tokens:
                writing.finish = "length"
            if writing.finish:
                self.done[writing.number] = writing
                self._leave(turn.lane, writing)

    def _leave(self, lane: int, writing: Writing) -> None:
        self._rows[lane] = [None if other is writing else other for other in self._rows[lane]]

    def _take(self, writing: Writing, width: int) -> RowTurn:
        start = writing.num_taken
        piece = writing.prompt[start : start + width]
        writing.num_taken += max(len(piece), 1)
        gives = writing.left_of_prompt == 0
        writing.num_made += gives
        return RowTurn(writing, start, piece, gives)
