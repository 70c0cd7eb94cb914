"""``partkit run``: run a plan and measure it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import plan_names
from partkit_cli.failure import OK, OUTPUTS_DIFFER
from partkit_cli.item_run import run_items
from partkit_cli.load_options import refilled, require_find_rate, samples_of
from partkit_cli.next_step import after_run
from partkit_cli.options import MachineOptions
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.data.result import RunResult

SECONDS, QUICK_SECONDS = 10.0, 1.0
TIMEOUT_S = 600.0
_KEPT_ITEMS = 40
"""Items of a recorded run whose events stay in its result."""


class Mode(StrEnum):
    """What the run is for: as many items in flight as help, or one at a time."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"


def run(
    path: Annotated[
        Path,
        typer.Argument(metavar="PLAN", help="A plan file, as 'partkit plan' writes it.", autocompletion=plan_names),
    ],
    machine: MachineOptions,
    output: Output,
    items: Annotated[int | None, typer.Option(min=1, help="Stop after this many items.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Measure for about this long; default: 10.")] = None,
    check: Annotated[bool, typer.Option(help="Compare outputs with the unsplit model's.")] = True,
    mode: Annotated[Mode, typer.Option(help="Items in flight: many, or one at a time.")] = Mode.THROUGHPUT,
    rate: Annotated[
        float | None, typer.Option(min=1e-3, help="Samples/s that arrive, at random times; latency counts from then.")
    ] = None,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Find the highest rate of arrivals that --max-latency holds at.")
    ] = False,
    max_latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --find-rate: bound on the p99 of latency, as 20ms.")
    ] = None,
    microbatch: Annotated[
        int | None, typer.Option(min=1, help="Items put together, instead of the plan's; with --inputs or --find-rate.")
    ] = None,
    max_delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest that an item waits for others, instead of the plan's.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="Device of each stage, as 0,0,1,1: a device may host several.")
    ] = None,
    loop_graph: Annotated[
        bool | None,
        typer.Option(
            "--loop-graph/--no-loop-graph",
            help="Put many items into one CUDA graph; default: where the host is slower than the device.",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples in one item, of a --dynamic batch plan.")] = None,
    seq: Annotated[int | None, typer.Option(min=1, help="Sequence length, of a --dynamic seq plan.")] = None,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Give up where a rank takes longer over one step.")
    ] = TIMEOUT_S,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the plan import Python code (py:).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, labelled so.")] = False,
    inputs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run your own items, of a safetensors file: a tensor [N, ...] an input."),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the outputs of --inputs go.", writable=True)
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="With --inputs: so often, start lost ranks again where the outputs end.")
    ] = 0,
    replan: Annotated[
        bool, typer.Option("--replan", help="With --restarts: do without a device that is lost twice in a row.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also record 200 items and write when each stage waited and computed, beside a simulation.",
            writable=True,
        ),
    ] = None,
    result_path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the result.", writable=True)
    ] = None,
) -> int:
    """Run a plan over its devices.

    Checks the outputs against the unsplit model's and measures the speed; with --inputs and --outputs it runs your
    own items instead: tensors named as the model's inputs, with items as one more dimension in front.

    \b
    Examples:
      partkit run plans/bert4.json
      partkit run plans/bert2.json --quick -o run.json
      partkit run plans/bert4.json --inputs data.safetensors --outputs out.safetensors
      partkit run plans/bert2.json --find-rate --max-latency 20ms
      torchrun --nnodes 2 --nproc-per-node 2 ... -m partkit_cli run plans/bert4.json
    """
    from partkit.data.plan import Plan

    planned = Plan.load(path)
    plan = refilled(planned, microbatch, max_delay, is_used=inputs is not None or find_rate)
    limit_s = require_find_rate(
        find_rate,
        max_latency,
        others={
            "--rate": rate is not None,
            "--items": items is not None,
            "--mode": mode is not Mode.THROUGHPUT,
            "--trace": trace is not None,
            "--inputs": inputs is not None,
            "--loop-graph": bool(loop_graph),
        },
    )
    from partkit.ranks.fork_client import prepare
    from partkit.ranks.run_options import RunOptions, require_request

    options = RunOptions(
        items=items,
        seconds=seconds or (QUICK_SECONDS if quick else None if items else SECONDS),
        check=check,
        device=machine.device.value,
        threads=machine.threads,
        memory_bytes=machine.memory_bytes,
        mode=mode.value,
        allow_code=allow_code,
        rate_per_s=rate,
        loop_graph="auto" if loop_graph is None else "on" if loop_graph else "off",
        devices=None if devices is None else _devices(devices),
        sizes={label: size for label, size in (("batch", batch), ("seq", seq)) if size is not None},
        timeout_s=timeout,
        records=trace is not None,
    )
    require_request(plan, plan.executor, options)
    _require_restarts(restarts, replan=replan, has_items=inputs is not None)
    if inputs is not None or outputs is not None:
        refused = {
            "--items": items is not None,
            "--seconds": seconds is not None,
            "--quick": quick,
            "--no-check": not check,
            "--mode": mode is not Mode.THROUGHPUT,
            "--rate": rate is not None,
            "--trace": trace is not None,
            "--loop-graph" if loop_graph else "--no-loop-graph": loop_graph is not None,
        }
        refused_given = [name for name, given in refused.items() if given]
        result = run_items(plan, inputs, outputs, options, output, refused_given, restarts=restarts, replan=replan)
        return _told(result, result_path, output, after_run(plan, path, machine))
    prepare()  # before what takes seconds to import
    if limit_s is not None or (rate is not None and plan.microbatch > 1):
        from partkit.runs.run_under_load import run_under_load

        served = replace(options, seconds=seconds or (QUICK_SECONDS if quick else None))
        with output.progress() as progress:
            result = run_under_load(
                plan, served, samples=samples_of(planned, plan, batch), max_latency_s=limit_s, progress=progress
            )
        return _told(_labelled_quick(result) if quick else result, result_path, output, after_run(plan, path, machine))
    from partkit.runs.run import run_plan

    with output.progress() as progress:
        found = run_plan(plan, options, progress=progress)
    if found is None:  # this process was a rank, and rank 0 reports the result
        return OK
    if trace is not None:
        found = _traced(plan, found, trace, output)
    return _told(_labelled_quick(found) if quick else found, result_path, output, after_run(plan, path, machine))


def _require_restarts(restarts: int, *, replan: bool, has_items: bool) -> None:
    if replan and not restarts:
        raise UsageError("--replan needs --restarts, since it is a restart", hint="add --restarts 2")
    if restarts and not has_items:
        raise UsageError(
            "--restarts goes on with items of one's own, and a run that measures begins afresh",
            hint="add --inputs and --outputs, or leave it out",
        )


def _traced(plan: Plan, result: RunResult, path: Path, output: Output) -> RunResult:
    """Write the whole timeline beside a simulated one, and keep its beginning in the result."""
    from partkit.data.writing import write_text_atomically
    from partkit.planners.simulated_result import simulated_result
    from partkit.reports.chrome_trace import chrome_trace
    from partkit.runs.record import RECORDED_ITEMS

    _, simulated = simulated_result(plan, num_items=RECORDED_ITEMS, num_traced=RECORDED_ITEMS)
    write_text_atomically(path, chrome_trace({"measured": result.timeline, "simulated": simulated}))
    output.note(f"wrote {path}, which ui.perfetto.dev opens")
    return result.model_copy(update={"timeline": tuple(each for each in result.timeline if each.item < _KEPT_ITEMS)})


def _told(result: RunResult, path: Path | None, output: Output, following: list[str]) -> int:
    output.document(result)
    if path is not None:
        output.note(f"wrote {result.save(path)}")
    if result.check.passed is False:
        return OUTPUTS_DIFFER
    output.next_step(following)
    return OK


def _devices(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--devices {text} is not a list of devices", hint="write it as --devices 0,0,1,1")
    return tuple(int(part) for part in parts)


def _labelled_quick(result: RunResult) -> RunResult:
    label = "quick run: too short for figures to rely on"
    return result.model_copy(update={"warnings": (*result.warnings, label)})
