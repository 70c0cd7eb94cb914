"""Ways to write text with a plan's model, one after the other: tokens/s, first token, and whether tokens are equal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from partkit.data.generate import Prompt
from partkit.data.orders import Load, WriteText
from partkit.data.plan import Plan
from partkit.data.progress import Progress, silent
from partkit.data.replies import TextWritten
from partkit.data.result import Comparison, Row
from partkit.data.units import format_seconds
from partkit.errors import PartkitError, RankFailedError, UsageError
from partkit.executors import WRITERS
from partkit.machine.environment import describe_environment, describe_gpus
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.generate import generation_of
from partkit.runs.statistics import bootstrap_ci95
from partkit.runs.verdict import conclude

_REFERENCE = "generate-single"
Tokens = tuple[tuple[int, ...], ...]


@dataclass
class _Way:
    """What one way has reached."""

    name: str
    status: str = "ok"
    reason: str | None = None
    rates: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    token_s: list[float] = field(default_factory=list)
    peak_bytes: tuple[int, ...] = ()
    tokens: Tokens = ()


def compare_writers(
    plan: Plan,
    options: RunOptions,
    *,
    names: Sequence[str] = tuple(WRITERS),
    rounds: int = 3,
    progress: Progress | None = None,
) -> Comparison:
    """Have each way continue the same prompts, as many as the plan has sequences and as long as its mix says.

    Prompts are drawn; without a mix they take half of the plan's length, and new tokens the rest. Of the result's
    rows ``samples_per_s`` are new tokens per second and ``latency_p50_s`` is the time to the first token. A way that
    fails is a row that says why. In float32 a way that writes other tokens than transformers on one device is invalid;
    in half precision its row tells how many are equal. Raises :class:`UsageError` for a way that writes no text.
    """
    tell = progress or silent
    unknown = next((name for name in names if name not in WRITERS), None)
    if unknown is not None:
        raise UsageError(f"{unknown} writes no text", hint=f"choose from {', '.join(WRITERS)}")
    prompts = drawn_prompts(plan)
    ways = [_Way(name) for name in names]
    for done, way in enumerate(ways):
        tell(f"Writing with {way.name}", done, len(ways))
        _measure(way, plan, options, prompts, rounds)
    tell("Writing", len(ways), len(ways))
    reference = next((way.tokens for way in ways if way.name == _REFERENCE and way.tokens), None)
    rows = tuple(_row(way, reference, plan.model.dtype) for way in ways)
    return _comparison(plan, prompts, rows, rounds)


def drawn_prompts(plan: Plan) -> tuple[Prompt, ...]:
    """As many prompts as the plan has sequences, drawn from the model's tokens by its seed."""
    generate = plan.generate
    assert generate is not None
    half = generate.max_length // 2
    length, new = generate.mix if generate.is_mixed else (half, generate.max_length - half)
    (tokens,) = (each for each in plan.model.inputs if each.name == "tokens")
    first, end = tokens.range or (0, 2)
    draw = torch.Generator().manual_seed(plan.model.seed)
    ids = torch.randint(int(first), int(end), (generate.sequences, length), generator=draw)
    return tuple(Prompt(tokens=tuple(row), max_new_tokens=new) for row in ids.tolist())


def _measure(way: _Way, plan: Plan, options: RunOptions, prompts: tuple[Prompt, ...], rounds: int) -> None:
    try:
        with RankGroup(job_of(plan, way.name, options)) as group:
            group.call(Load())
            for number in range(rounds + 1):
                replies = group.call(WriteText(prompts=prompts))
                if number:  # the first is to warm up
                    _note(way, replies)
    except PartkitError as error:
        way.status = "failed" if isinstance(error, RankFailedError) else "unsupported"
        way.reason = str(error)


def _note(way: _Way, replies: Sequence[TextWritten]) -> None:
    made = generation_of(replies, None)
    way.rates.append(made.tokens_per_s)
    way.first_token_s.append(made.first_token_s.p50)
    way.token_s.append(made.token_s.p50)
    way.peak_bytes = made.peak_bytes
    way.tokens = tuple(each.tokens for each in made.sequences)


def _row(way: _Way, reference: Tokens | None, dtype: str) -> Row:
    if way.status != "ok":
        return Row.model_validate({"executor": way.name, "status": way.status, "reason": way.reason})
    share = None if reference is None else equal_share(way.tokens, reference)
    differs = share is not None and share < 1.0
    is_wrong = differs and dtype == "float32"
    told = f"{format_seconds(statistics.median(way.token_s))} from token to token"
    if share is not None and differs:
        told += f", {100 * share:.0f}% of tokens before the first other one than transformers'"
    return Row(
        executor=way.name,
        status="invalid" if is_wrong else "ok",
        reason="it writes other tokens than transformers on one device" if is_wrong else None,
        samples_per_s=statistics.median(way.rates),
        ci95=bootstrap_ci95(way.rates),
        latency_p50_s=statistics.median(way.first_token_s),
        peak_bytes=way.peak_bytes,
        note=told,
    )


def equal_share(tokens: Tokens, reference: Tokens) -> float:
    """Share of tokens that stand before the first difference of their sequence.

    >>> equal_share(((1, 2, 3, 4), (5, 6)), ((1, 2, 9, 4), (5, 6)))
    0.6666666666666666
    """
    equal = 0
    for one, other in zip(tokens, reference, strict=True):
        pairs = list(zip(one, other, strict=False))
        equal += next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))
    return equal / sum(map(len, tokens))


def _comparison(plan: Plan, prompts: Sequence[Prompt], rows: tuple[Row, ...], rounds: int) -> Comparison:
    reasons = [f"{row.executor}: {row.reason}" for row in rows if row.status == "invalid"]
    if not any(row.status == "ok" for row in rows):
        reasons.append("nothing wrote text")
    devices = len({device for stage in plan.stages for device in stage.devices})
    environment = {**describe_environment(), "rounds": rounds}
    if plan.cluster.devices[0].type == "cuda":
        environment |= describe_gpus()
    what = (
        f"samples are new tokens, of {len(prompts)} sequences with {len(prompts[0].tokens)} tokens of prompt and "
        f"{prompts[0].max_new_tokens} new ones; latency is to the first token"
    )
    return Comparison(
        valid=not reasons,
        reasons=tuple(reasons),
        model=plan.model,
        devices=devices,
        rows=rows,
        verdict=conclude(rows, devices),
        warnings=(what,),
        environment=environment,
    )
