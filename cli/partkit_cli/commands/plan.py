"""``partkit plan``: cut a model into stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.options import ANALYTIC, MachineOptions, ModelOptions, PlanOptions
from partkit_cli.output import Output


def plan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model (see 'partkit models') or a profile file.")],
    building: ModelOptions,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
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
      partkit plan profile.json --stages 8 --cluster cluster.json -o plans/mine.json
    """
    from partkit_cli.planning import plan_for, profile_of, write_plan

    profile = profile_of(model, building, machine, output, analytic=analytic)
    made = plan_for(profile, planning, machine, output)
    output.document(made)
    write_plan(made, path, output)
