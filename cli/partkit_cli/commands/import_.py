"""``partkit import``: another tool's split as a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import file_names, model_names
from partkit_cli.next_step import after_plan
from partkit_cli.options import ANALYTIC, MachineOptions, ModelOptions
from partkit_cli.output import Output


def import_(
    split: Annotated[
        str,
        typer.Argument(
            metavar="SPLIT",
            help="accelerate's device_map as a JSON file, or the modules that stages after the first begin with, "
            "comma-separated.",
            autocompletion=file_names,
        ),
    ],
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model or a profile file, as for plan.", autocompletion=model_names)
    ],
    building: ModelOptions,
    machine: MachineOptions,
    output: Output,
    cluster: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="As for plan; default: this machine's devices.")
    ] = None,
    analytic: Annotated[str | None, ANALYTIC] = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: plans/<model><stages>.json.")
    ] = None,
) -> None:
    """Make a plan of a split that another tool made.

    What the split names stands where it says; operations between the named modules go where they cost least. The plan
    is predicted as any other, and can be run and compared beside partkit's own.

    \b
    Examples:
      partkit import device_map.json bert --cluster 2x-nvlink --analytic h100 -o plans/theirs.json
      partkit import bert.encoder.layer.1 bert -o plans/halves.json
    """
    from partkit.data.writing import require_place
    from partkit.planners.imported import DeviceMap, SplitPoints, pins_of_split
    from partkit_cli.checks import PLANS, require_memory_of_use, require_plannable
    from partkit_cli.options import PlanOptions
    from partkit_cli.planning import is_file, plan_for, profile_of, write_plan

    named = DeviceMap.load(Path(split)) if split.endswith(".json") else SplitPoints(tuple(split.split(",")))
    if path is not None:
        require_place(path)
    asked = PlanOptions(stages=str(named.num_stages), exact=True, cluster=cluster)
    require_plannable(asked, machine, folder=None if path else PLANS, analytic=None if is_file(model) else analytic)
    require_memory_of_use(machine, file=model if is_file(model) else None, analytic=analytic)
    profile = profile_of(model, building, machine, output, analytic=analytic)
    pins, unused = pins_of_split(named, profile)
    for name in unused:
        output.note(f"{name} computes nothing of {profile.model.source}, and is left out")
    options = PlanOptions(stages=str(named.num_stages), exact=True, cluster=cluster, pins=pins)
    made = plan_for(profile, options, machine, output)
    if made.stages and len(made.stages) != named.num_stages:
        raise UsageError(f"the split has {named.num_stages} stages, and {len(made.stages)} of them compute something")
    output.document(made)
    written = write_plan(made, path, output)
    output.next_step(after_plan(made, written, MachineOptions(memory=machine.memory)))
