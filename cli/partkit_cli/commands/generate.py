"""``partkit generate``: write text with a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import plan_names
from partkit_cli.options import MachineOptions
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.generate import Sampling
    from partkit.data.generation import Generation

TIMEOUT_S = 3600.0


def generate(
    path: Annotated[
        Path,
        typer.Argument(metavar="PLAN", help="A plan made with --generate.", autocompletion=plan_names),
    ],
    machine: MachineOptions,
    output: Output,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='A prompt a line: {"text": "…"} or {"input_ids": [1, 2, 3]}.'),
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A prompt; repeatable.")] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(metavar="I,J,K", help="A prompt as token ids, as 1,2,3; repeatable.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of each prompt; default: as many as the plan's length leaves.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Draw tokens, with logits divided by this; 0: always the likeliest.")
    ] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from this many likeliest tokens; 0: from all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest with this probability together.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="What is drawn depends on it.")] = 0,
    stop: Annotated[
        list[int] | None, typer.Option(min=0, metavar="TOKEN", help="Ends a sequence; default: the model's own.")
    ] = None,
    no_stop: Annotated[bool, typer.Option("--no-stop", help="Let no token end a sequence.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Give up where all of it takes longer.")
    ] = TIMEOUT_S,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the plan import Python code (py:).")] = False,
) -> None:
    """Continue prompts with a plan.

    A single prompt's tokens are shown as they come; of several each is shown when all are there. There may be more
    prompts than the plan's sequences: one that ends leaves its place to the next.

    \b
    Examples:
      partkit generate plans/llama-tiny2.json --tokens 1,2,3 --max-new-tokens 8
      partkit generate plans/my-model2.json --prompt 'Once upon a time' --temperature 0.8 --top-p 0.95
      partkit generate plans/my-model2.json --prompts prompts.jsonl --max-new-tokens 96 --json
    """
    from partkit.data.plan import Plan

    plan = Plan.load(path)
    from partkit.executors import WRITES
    from partkit.ranks.fork_client import prepare
    from partkit.ranks.run_options import RunOptions, require_request
    from partkit_cli.prompts import prompts_of

    given = prompts_of(prompts, prompt or [], tokens or [])
    sampling = _sampling(temperature, top_k, top_p, seed)
    if stop and no_stop:
        raise UsageError("--stop and --no-stop cannot go together", hint="leave one of them out")
    require_request(plan, WRITES, RunOptions(device=machine.device.value, allow_code=allow_code))
    prepare()  # before what takes seconds to import
    from partkit.models.tokenizer import tokenizer_of
    from partkit.runs.generate import checked_prompts, open_generator

    list(checked_prompts(plan, given, max_new_tokens, tokenizer_of(plan.model)))
    with output.waiting("Loading"):
        generator = open_generator(
            plan, device=machine.device.value, threads=machine.threads, allow_code=allow_code, timeout_s=timeout
        )
    is_shown = len(given) == 1 and not output.as_json
    with generator:
        result = generator.generate(
            given,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stops=() if no_stop else stop,
            tell=(lambda piece: output.piece(f"{piece.token} " if piece.text is None else piece.text))
            if is_shown
            else None,
        )
    _show(result, output, is_shown=is_shown)


def _show(result: Generation, output: Output, *, is_shown: bool) -> None:
    from partkit.data.units import format_count, format_rate, format_seconds

    output.json(result.model_dump(mode="json"))
    if is_shown:
        output.text("")
    else:
        for each in result.sequences:
            output.text(f"{each.index}: {' '.join(map(str, each.tokens)) if each.text is None else each.text}")
    num_tokens = sum(len(each.tokens) for each in result.sequences)
    output.note(
        f"{format_count(num_tokens)} tokens, {format_rate(result.tokens_per_s)} tokens/s · first token after "
        f"{format_seconds(result.first_token_s.p50)} · {format_seconds(result.token_s.p50)} from token to token"
    )


def _sampling(temperature: float, top_k: int, top_p: float, seed: int) -> Sampling:
    from partkit.data.generate import Sampling

    if not 0 < top_p <= 1:
        raise UsageError(f"--top-p is {top_p:g}", hint="it is more than 0 and at most 1")
    if temperature == 0 and (top_k or top_p < 1):
        raise UsageError("--top-k and --top-p are for tokens that are drawn", hint="add --temperature, as 0.8")
    return Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
