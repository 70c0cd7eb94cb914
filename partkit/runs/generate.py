"""Write text with a plan: start its ranks once, continue prompts any number of times.

prompts -> token ids -> WriteText -> ranks -> token ids (and, as they come, a file of them) -> text
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from partkit.data.generate import TOLD, Prompt, Sampling, Written
from partkit.data.generation import Generation, Percentiles
from partkit.data.generation import Sequence as WrittenSequence
from partkit.data.orders import DescribeEnvironment, Load, WriteText
from partkit.data.plan import Plan
from partkit.data.replies import TextWritten
from partkit.errors import UsageError
from partkit.executors import WRITES
from partkit.models.tokenizer import Tokenizer, stops_of, tokenizer_of
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import own_folder
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.statistics import percentile

_LOOK_S = 0.01
Ids = Sequence[int]


@dataclass(frozen=True)
class Piece:
    """A token of one sequence, as it comes."""

    index: int
    """Of the prompt."""
    token: int
    text: str | None
    """What it adds to the sequence's text; None without a tokenizer."""


def open_generator(
    plan: Plan,
    *,
    device: str = "auto",
    threads: int | None = None,
    allow_code: bool = False,
    timeout_s: float = 600.0,
) -> Generator:
    """Start the ranks of a plan that writes text and leave them waiting for prompts; use it in a ``with`` statement.

    ``timeout_s``: a call that takes longer is a failure. Raises
    :class:`UsageError` for a plan that was made without ``--generate``, :class:`MachineError` where its devices are
    missing and :class:`RankFailedError` where a rank ends.
    """
    options = RunOptions(device=device, threads=threads, allow_code=allow_code, timeout_s=timeout_s)
    return Generator(plan, options)


class Generator:
    """The ranks of a plan, ready for prompts; made by :func:`open_generator`. For one thread."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        job = job_of(plan, WRITES, options)
        self._plan, self._calls = plan, itertools.count()
        self.tokenizer: Tokenizer | None = tokenizer_of(plan.model)
        """The model folder's own; None where it has none."""
        self._group = RankGroup(job)
        try:
            loaded = self._group.call(Load())
        except BaseException as error:
            self._group.__exit__(type(error), error, None)
            raise

        self.notes = tuple(note for reply in loaded for note in reply.notes)
        """What the ranks decided by themselves."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._group.__exit__(kind, error, trace)

    def pids(self) -> dict[int, int]:
        """Process id by rank."""
        return self._group.pids()

    def close(self) -> None:
        """End the ranks."""
        self._group.close()

    def generate(
        self,
        prompts: Sequence[str | Ids],
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        stops: Sequence[int] | None = None,
        tell: Callable[[Piece], None] | None = None,
    ) -> Generation:
        """Continue prompts, texts or lists of token ids; there may be more than the plan's sequences.

        ``max_new_tokens``: of each; default: as many as the plan's length leaves. ``sampling``: greedy by default.
        ``stops``: tokens that end a sequence; default: the model's own end-of-text tokens. ``tell`` hears of each token
        soon after it came. Raises :class:`UsageError` for a prompt that is empty, too long or holds no such token.
        """
        checked = self._checked(prompts, max_new_tokens)
        chosen = stops if stops is not None else stops_of(self._plan.model)
        sampling = sampling or Sampling()
        with own_folder() as folder:
            stream = folder / f"tokens{next(self._calls)}" if tell is not None else None
            order = WriteText(prompts=tuple(checked), sampling=sampling, stops=tuple(chosen), stream=str(stream or ""))
            if stream is None or tell is None:
                replies = self._group.call(order)
            else:
                teller = Teller(stream, tell, self.tokenizer)
                replies = self._group.call(order, while_waiting=teller.look)
                teller.look()
        environment = self._group.call(DescribeEnvironment())[0].environment
        changes = {"environment": environment, "warnings": self.notes}
        return generation_of(replies, self.tokenizer).model_copy(update=changes)

    def stream(self, prompt: str | Ids, **options: Any) -> Iterator[Piece]:
        """The tokens of one prompt's continuation as they come; ``options`` are those of :meth:`generate`."""
        import queue
        import threading

        pieces: queue.Queue[Piece | BaseException | None] = queue.Queue()

        def write() -> None:
            try:
                self.generate([prompt], tell=pieces.put, **options)
                pieces.put(None)
            except BaseException as error:  # noqa: BLE001 - raised where the iterator is read
                pieces.put(error)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
        thread.join()

    def _checked(self, prompts: Sequence[str | Ids], max_new_tokens: int | None) -> Iterator[Prompt]:
        return checked_prompts(self._plan, prompts, max_new_tokens, self.tokenizer)


def checked_prompts(
    plan: Plan, prompts: Sequence[str | Ids], max_new_tokens: int | None, tokenizer: Tokenizer | None
) -> Iterator[Prompt]:
    """Prompts as the ranks take them. Raises :class:`UsageError` for the first that the plan cannot continue."""
    assert plan.generate is not None
    longest, (_, vocabulary) = plan.generate.max_length, _range_of(plan)
    for number, prompt in enumerate(prompts):
        if isinstance(prompt, str) and tokenizer is None:
            raise UsageError(
                f"prompt {number} is a text, and {plan.model.source} comes with no tokenizer",
                hint='give token ids: --tokens 1,2,3, or {"input_ids": [1, 2, 3]} in a file',
            )
        ids = (
            tokenizer.encode(prompt) if isinstance(prompt, str) and tokenizer is not None else [int(i) for i in prompt]
        )
        if not ids:
            raise UsageError(f"prompt {number} has no tokens", hint="give each at least one")
        strange = next((token for token in ids if not 0 <= token < vocabulary), None)
        if strange is not None:
            raise UsageError(f"prompt {number} holds the token {strange}, and the model has 0 to {vocabulary - 1}")
        new = longest - len(ids) if max_new_tokens is None else max_new_tokens
        if new < 1 or len(ids) + new > longest:
            raise UsageError(
                f"prompt {number} has {len(ids)} tokens, with {max(new, 1)} new ones {len(ids) + max(new, 1)}, and the "
                f"plan is for {longest} at most",
                hint=f"plan again with --max-length {len(ids) + max(new, 1)}, or ask for fewer new tokens",
            )
        yield Prompt(tokens=tuple(ids), max_new_tokens=new)


def _range_of(plan: Plan) -> tuple[int, int]:
    (tokens,) = (each for each in plan.model.inputs if each.name == "tokens")
    assert tokens.range is not None
    return int(tokens.range[0]), int(tokens.range[1])


class Teller:
    """Reads the file of tokens as it grows."""

    def __init__(self, path: Path, tell: Callable[[Piece], None], tokenizer: Tokenizer | None) -> None:
        self._path, self._tell, self._tokenizer = path, tell, tokenizer
        self._seen = 0
        self._tokens: dict[int, list[int]] = {}
        self._told: dict[int, str] = {}

    def look(self) -> None:
        """Tell of the tokens that have come since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._seen)
            data = file.read()
        whole = len(data) // TOLD.size * TOLD.size
        self._seen += whole
        for index, token in TOLD.iter_unpack(data[:whole]):
            self._tell(Piece(index, token, self._text(index, token)))
        time.sleep(_LOOK_S)

    def _text(self, index: int, token: int) -> str | None:
        if self._tokenizer is None:
            return None
        tokens = self._tokens.setdefault(index, [])
        tokens.append(token)
        text, told = self._tokenizer.decode(tokens), self._told.get(index, "")
        if text.endswith("\N{REPLACEMENT CHARACTER}"):  # part of a letter: the next token has the rest
            return ""
        self._told[index] = text
        return text[len(told) :]


def generation_of(replies: Sequence[TextWritten], tokenizer: Tokenizer | None) -> Generation:
    """What the ranks' answers to an order to write come to; texts only with a tokenizer."""
    written = next(reply.written for reply in replies if reply.written)
    sequences = tuple(
        WrittenSequence(
            index=index,
            tokens=each.tokens,
            text=None if tokenizer is None else tokenizer.decode(each.tokens),
            finish="stop" if each.finish == "stop" else "length",
        )
        for index, each in enumerate(written)
    )
    last_s = max(each.last_token_s for each in written)
    return Generation(
        sequences=sequences,
        tokens_per_s=sum(len(each.tokens) for each in written) / last_s,
        first_token_s=_percentiles([each.first_token_s for each in written]),
        token_s=_percentiles([_token_s(each) for each in written]),
        peak_bytes=tuple(use.peak_bytes for reply in replies for use in reply.uses),
    )


def _token_s(written: Written) -> float:
    gaps = len(written.tokens) - 1
    return (written.last_token_s - written.first_token_s) / gaps if gaps else 0.0


def _percentiles(samples: Sequence[float]) -> Percentiles:
    return Percentiles(p50=percentile(samples, 0.5), p95=percentile(samples, 0.95))
