"""``partkit plan``: cut a model into stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import model_names
from partkit_cli.generate_options import GenerateOptions
from partkit_cli.next_step import after_plan
from partkit_cli.options import ANALYTIC, MachineOptions, ModelOptions, PlanOptions
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model (see 'partkit models') or a profile file.", autocompletion=model_names
        ),
    ],
    building: ModelOptions,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
    writing: GenerateOptions,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="List plans from best throughput to best latency; -o names a folder.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the stages, correct the node times, plan again; up to 3 rounds.")
    ] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure again instead of using a kept profile.")] = False,
    analytic: Annotated[str | None, ANALYTIC] = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: plans/<model><stages>.json.")
    ] = None,
) -> None:
    """Cut a model into stages.

    Prints the stages, the predicted speed and a proved bound on the best possible, and writes the plan.

    \b
    Examples:
      partkit plan bert --stages 4
      partkit plan hf:my-checkpoint --stages auto --cap 0=8GiB --pin 'embeddings=0'
      partkit plan llama-7b --stages 4 --analytic h100 --cluster 4x-nvlink
      partkit plan net.profile.json --stages 8 --cluster cluster.json -o plans/mine.json
      partkit plan bert --stages 2 --measure
      partkit plan bert --cluster 8x-nvlink --pareto
      partkit plan llama-tiny --generate --max-length 64 --stages 2
    """
    from partkit.data.writing import require_folder, require_place
    from partkit_cli.checks import PLANS, require_memory_of_use, require_plannable
    from partkit_cli.planning import is_file, plan_for, profile_of, write_plan, writing_plan

    if pareto and measure:
        raise UsageError("--pareto and --measure cannot go together", hint="measure one plan of the list at a time")
    if (pareto or measure) and planning.chooses_filling:
        raise UsageError(
            "--pareto and --measure are of given lanes and microbatches", hint="give numbers, without --max-latency"
        )
    if path is not None:
        (require_folder if pareto else require_place)(path)
    asked, planning = planning, replace(planning, lanes=None) if writing.generate else planning  # lanes of sequences
    require_plannable(planning, machine, folder=None if path else PLANS, analytic=None if is_file(model) else analytic)
    require_memory_of_use(machine, file=model if is_file(model) else None, analytic=analytic)
    generate = writing.checked(asked, building, file=is_file(model), other=pareto or measure)
    building = planning.batched(model, building)
    profile = profile_of(model, building, machine, output, analytic=analytic, refresh=refresh, generate=generate)
    if pareto:
        _list_frontier(profile, planning, machine, path, output)
        return
    if measure:
        made = _measured_plan(profile, planning, machine, output, typed=profile.model.source == model)
    elif generate is not None:
        made = writing_plan(profile, generate, planning, machine, output, analytic=analytic, refresh=refresh)
    else:
        made = plan_for(profile, planning, machine, output)
    output.document(made)
    written = write_plan(made, path, output, num_stages=planning.num_stages)
    output.next_step(after_plan(made, written, MachineOptions(memory=machine.memory)))


def _list_frontier(
    profile: Profile, planning: PlanOptions, machine: MachineOptions, folder: Path | None, output: Output
) -> None:
    """Plans of the frontier; their files only where a folder is named, since one is to be chosen."""
    from partkit.data.cache import keep_profile
    from partkit.planners import pareto
    from partkit.reports.sheets.frontier import frontier_sheet
    from partkit_cli.planning import cluster_for, command_for_enough, default_path, with_own_speeds, with_provenance

    cluster = with_own_speeds(profile, cluster_for(profile, planning, machine, output), planning, output)
    with command_for_enough(planning, cluster), output.waiting("Planning from throughput to latency"):
        plans = [with_provenance(found) for found in pareto(profile, cluster, planning.request(cluster))]
    keep_profile(profile)
    output.sheet(frontier_sheet(plans))
    output.json({"kind": "frontier", "plans": [found.to_data() for found in plans]})
    if folder is None:
        output.note("wrote no plan; add -o FOLDER for a file of each")
        return
    for number, found in enumerate(plans, start=1):
        name = default_path(found)
        output.note(f"wrote {found.save(folder / f'{name.stem}-{number}.json')}")


def _measured_plan(
    profile: Profile, planning: PlanOptions, machine: MachineOptions, output: Output, *, typed: bool
) -> Plan:
    from partkit.ranks.run_options import RunOptions
    from partkit.runs.tune import plan_by_measuring
    from partkit_cli.planning import cluster_for, with_own_speeds, with_provenance

    cluster = with_own_speeds(profile, cluster_for(profile, planning, machine, output), planning, output)
    options = RunOptions(
        seconds=1.0,
        check=False,
        device=machine.device.value,
        threads=machine.threads,
        allow_code=typed,
        memory_bytes=machine.memory_bytes,
    )
    with output.progress() as progress:
        tuned = plan_by_measuring(profile, cluster, planning.request(cluster), options, progress=progress)
    if not tuned.is_stable:
        output.warning(
            f"after {len(tuned.plan.rounds)} rounds another cut still promised more; this plan ran fastest of them"
        )
    return with_provenance(tuned.plan)
