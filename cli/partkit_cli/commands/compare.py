"""``partkit compare``: run several executors on the same model and say which is best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit.runs.comparison_defaults import (
    DEFAULT_EXECUTORS,
    QUICK_ROUNDS,
    QUICK_SECONDS_PER_ROUND,
    ROUNDS,
    SECONDS_PER_ROUND,
    TIMEOUT_S,
)
from partkit_cli.completion import executor_names, model_names
from partkit_cli.failure import OK, RESULT_INVALID
from partkit_cli.next_step import after_compare, after_join
from partkit_cli.options import FORMAT, MachineOptions, ModelOptions, PlanOptions, refuse
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.document import Document
    from partkit.data.model import ModelSpec
    from partkit.data.plan import Plan
    from partkit.data.progress import Progress
    from partkit.data.result import Comparison
    from partkit.executors import ExecutorInfo
    from partkit.runs.compare import CompareOptions

DEFAULT_MODEL = "bert"
CPU_STAGES = 2


def compare(
    building: ModelOptions,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|PLAN]",
            help="A plan file, a model, or a profile's file; with --from, comparison files.",
            autocompletion=model_names,
        ),
    ] = None,
    executors: Annotated[
        str, typer.Option("--with", metavar="A,B,C", help="Executors.", autocompletion=executor_names)
    ] = ",".join(DEFAULT_EXECUTORS),
    rounds: Annotated[int | None, typer.Option(min=1, help="Interleaved rounds of each executor.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Length of a round of each executor.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="CUDA streams for deepspeed and fsdp1.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="End an executor that takes longer over one step.")
    ] = TIMEOUT_S,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let a plan (py:) or --with (module:class) import Python code.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Short rounds, labelled so.")] = False,
    earlier: Annotated[bool, typer.Option("--from", help="Join earlier comparisons instead of measuring.")] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Join comparisons of different models or machines, and say so.")
    ] = False,
    style: Annotated[str | None, FORMAT] = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the comparison.", writable=True)
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a report, one HTML page.", writable=True)
    ] = None,
) -> int:
    """Measure executors side by side.

    Interleaved rounds on the same weights and inputs; outputs are checked before a speed counts. Without a
    model: bert over this machine's devices.

    \b
    Examples:
      partkit compare bert --stages 2
      partkit compare plans/bert2.json --with single,pipeline,fsdp --quick
      partkit compare bert --stages 2 -o bert2.comparison.json --html report.html
      partkit compare --from a.json b.json --format markdown
    """
    from partkit_cli.planning import is_file

    given = models or []
    if html is not None:
        from partkit_cli.reporting import require_own_place

        require_own_place(html, [*map(Path, given), *([] if path is None else [path])])
    names = tuple(name.strip() for name in executors.split(",") if name.strip())
    writes_plan = not earlier and not (given and is_file(given[0]))
    infos = _require(names, planning, machine, style, output, writes_plan=writes_plan, allow_code=allow_code)
    reported: dict[str, Document] = {}
    following = after_join(given, path, allow_mixed=allow_mixed)
    if earlier:
        comparison = _joined(given, allow_mixed=allow_mixed)
        _show(comparison, style, output)
    else:
        needs_capture = any(info.needs_capture for info in infos)
        plan, plan_path, typed = _plan(given, building, planning, machine, output, needs_capture=needs_capture)
        writes = plan.generate is not None
        if not writes:
            _require_runnable(plan, machine, allow_code=allow_code or typed)
        from partkit.ranks.fork_client import prepare

        prepare()  # before what takes seconds to import
        from partkit.runs.compare import CompareOptions, compare_executors

        options = CompareOptions(
            executors=names,
            rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
            seconds_per_round=seconds or (QUICK_SECONDS_PER_ROUND if quick else SECONDS_PER_ROUND),
            device=machine.device.value,
            threads=machine.threads,
            memory_bytes=machine.memory_bytes,
            streams=streams,
            allow_code=allow_code or typed,
            quick=quick,
            timeout_s=timeout,
        )
        with output.progress() as progress:
            standing = None if progress is None else progress.row
            if writes:
                comparison = _compare_writers(plan, options, progress)
            else:
                comparison = compare_executors(plan, options, progress=progress, standing=standing)
        _show(comparison, style, output)
        if style is None:
            output.text(f"plan: {plan_path}")
        reported[str(plan_path)] = plan
        chosen = None if names == DEFAULT_EXECUTORS else executors
        following = after_compare(plan, plan_path, machine, chosen, quick=quick, written=path)
    if path is not None:
        output.note(f"wrote {comparison.save(path)}")
    if html is not None:
        from partkit_cli.reporting import write_report

        write_report({str(path or "comparison.json"): comparison, **reported}, html)
        output.note(f"wrote {html}")
    if not comparison.valid:
        return RESULT_INVALID
    if html is not None and not quick:
        output.next_page(html)
    elif style is None:
        output.next_step(following)
    return OK


def _compare_writers(plan: Plan, options: CompareOptions, progress: Progress | None) -> Comparison:
    """Ways to write text with a plan made for that: all of them unless some are named."""
    from partkit.executors import WRITERS
    from partkit.ranks.run_options import RunOptions
    from partkit.runs.compare_writers import compare_writers

    how = RunOptions(
        device=options.device, threads=options.threads, allow_code=options.allow_code, timeout_s=options.timeout_s
    )
    names = tuple(WRITERS) if options.executors == DEFAULT_EXECUTORS else options.executors
    return compare_writers(plan, how, names=names, rounds=options.rounds, progress=progress)


def _require(
    executors: tuple[str, ...],
    planning: PlanOptions,
    machine: MachineOptions,
    style: str | None,
    output: Output,
    *,
    writes_plan: bool,
    allow_code: bool,
) -> list[ExecutorInfo]:
    """The executors, unless something is wrong with the options: told before a model is profiled."""
    from partkit.executors import require_executor
    from partkit_cli.checks import PLANS, require_format, require_plannable

    if not executors:
        raise UsageError("--with names no executor", hint=f"name some of {', '.join(DEFAULT_EXECUTORS)}")
    infos = [require_executor(name, allow_code=allow_code) for name in executors]
    require_format(style, output)
    require_plannable(planning, machine, folder=PLANS if writes_plan else None)
    return infos


def _require_runnable(plan: Plan, machine: MachineOptions, *, allow_code: bool) -> None:
    from partkit.ranks.run_options import RunOptions, require_request

    require_request(plan, "single", RunOptions(device=machine.device.value, allow_code=allow_code))


def _show(comparison: Comparison, style: str | None, output: Output) -> None:
    if output.as_json or style is None:
        output.document(comparison)
        return
    from partkit.reports import render

    output.text(render(comparison, style).rstrip("\n"))


def _joined(paths: list[str], *, allow_mixed: bool) -> Comparison:
    from partkit.data.result import Comparison
    from partkit.runs.join import join_comparisons

    if len(paths) < 2:
        raise UsageError(
            f"--from joins comparisons and needs two files or more, not {len(paths)}",
            hint="write them with 'partkit compare MODEL -o FILE'",
        )
    return join_comparisons([Comparison.load(path) for path in paths], paths, allow_mixed=allow_mixed)


def _plan(
    given: list[str],
    building: ModelOptions,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
    *,
    needs_capture: bool,
) -> tuple[Plan, Path, bool]:
    """The plan, its file, and whether the person typed the model's name (which is consent to its code).

    ``needs_capture`` is False where no executor needs a graph: then also a model runs that torch.export cannot capture.
    """
    from partkit.data.files import load_document
    from partkit.data.plan import Plan
    from partkit_cli.planning import is_file, plan_for, profile_of, write_plan

    if len(given) > 1:
        raise UsageError(
            f"one model or plan is compared at a time, and {len(given)} are named ({', '.join(given)})",
            hint="join earlier comparisons with --from",
        )
    model = given[0] if given else DEFAULT_MODEL
    if not given and planning.num_stages is None:
        planning = replace(planning, stages=str(_num_stages(machine)))
    if is_file(model):
        document = load_document(model)
        if isinstance(document, Plan):
            refuse(building, model, "plan")
            refuse(planning, model, "plan")
            return document, Path(model), False
    elif not needs_capture:
        plan = _uncaptured_plan(building.spec(model), planning, machine, output)
        return plan, write_plan(plan, None, output), plan.model.source == model
    profile = profile_of(model, planning.batched(model, building), machine, output)
    plan = plan_for(profile, planning, machine, output)
    written = write_plan(plan, None, output, num_stages=planning.num_stages)
    return plan, written, plan.model.source == model


def _num_stages(machine: MachineOptions) -> int:
    """A stage for each GPU of this machine, or two on its CPU."""
    from partkit.machine.devices import num_cuda_devices, resolve_device

    return num_cuda_devices() if resolve_device(machine.device.value) == "cuda" else CPU_STAGES


def _uncaptured_plan(spec: ModelSpec, planning: PlanOptions, machine: MachineOptions, output: Output) -> Plan:
    """Whole modules over as many devices as stages are asked for: nothing is captured or profiled."""
    from partkit.machine.devices import resolve_device
    from partkit.runs.machine_cluster import machine_cluster
    from partkit.runs.uncaptured import uncaptured_plan

    num_devices = planning.num_stages or _num_stages(machine)
    device = resolve_device(machine.device.value)
    with output.progress() as progress:
        cluster = machine_cluster(
            num_devices, device=device, threads=machine.threads, margin=planning.margin, progress=progress
        )
    return uncaptured_plan(spec, cluster)
