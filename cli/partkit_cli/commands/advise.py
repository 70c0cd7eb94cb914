"""``partkit advise``: which way to run a model on a machine, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.completion import cluster_names, model_names
from partkit_cli.next_step import after_advise
from partkit_cli.options import ANALYTIC, MachineOptions, ModelOptions, Objective, PlanOptions
from partkit_cli.output import Output


def advise(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model, or a profile's file; 'partkit models' lists what it may be.",
            autocompletion=model_names,
        ),
    ],
    building: ModelOptions,
    machine: MachineOptions,
    output: Output,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Devices and links, as 4x-nvlink; default: this machine's. 'partkit cluster list' has the names.",
            autocompletion=cluster_names,
        ),
    ] = None,
    objective: Annotated[Objective, typer.Option(help="What to make best.")] = Objective.THROUGHPUT,
    analytic: Annotated[str | None, ANALYTIC] = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the advice.", writable=True)
    ] = None,
) -> None:
    """Say which way to run a model on a machine: one device, replicas, a pipeline, tensor parallelism or FSDP.

    Each way has a cost model of its own, fed by the model's profile; its interval comes from the errors that
    benchmarks/ publish. 'partkit compare' measures the same ways.

    \b
    Examples:
      partkit advise bert
      partkit advise bert --analytic h100 --cluster 4x-nvlink --objective latency
      partkit advise llama-7b --dtype bfloat16 --analytic a10 --cluster 4x-pcie-gen4 --json
    """
    from partkit_cli.checks import require_plannable
    from partkit_cli.planning import cluster_for, is_file, profile_of

    planning = PlanOptions(cluster=cluster, objective=objective)
    require_plannable(planning, machine, folder=None, analytic=None if is_file(model) else analytic)
    profile = profile_of(model, building, machine, output, analytic=analytic)
    found_cluster = cluster_for(profile, planning, machine, output)
    from partkit.machine.environment import describe_environment
    from partkit.planners.advice.advise import advise as ask

    found = ask(profile, found_cluster, objective.value)
    found = found.model_copy(update={"environment": describe_environment()})
    output.document(found)
    if path is not None:
        output.note(f"wrote {found.save(path)}")
    output.next_step(after_advise(model, building, machine, analytic=analytic, cluster=cluster))
