"""``partkit profile``: measure a model's operations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.completion import model_names
from partkit_cli.next_step import after_profile
from partkit_cli.options import ANALYTIC, MachineOptions, ModelOptions
from partkit_cli.output import Output
from partkit_cli.planning import profile_of_spec


def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model; 'partkit models' lists what it may be.", autocompletion=model_names
        ),
    ],
    building: ModelOptions,
    machine: MachineOptions,
    output: Output,
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure again instead of using the cache.")] = False,
    analytic: Annotated[str | None, ANALYTIC] = None,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the profile.", writable=True)
    ] = None,
) -> None:
    """Measure each operation of a model.

    Prints time and size by block; -o writes the profile, which 'partkit plan' takes in place of a model.

    \b
    Examples:
      partkit profile bert -o bert.profile.json
      partkit profile bert --analytic h100
      partkit profile py:my_package.net:make_net --input x=8x3x224x224:float32 -o net.profile.json
    """
    from partkit_cli.checks import require_machine, require_memory_of_use

    require_machine(machine)
    require_memory_of_use(machine, analytic=analytic)
    if analytic is not None:
        from partkit.profilers.nominal import nominal_device

        nominal_device(analytic)
    spec = building.spec(model)
    measured = profile_of_spec(spec, machine, output, analytic=analytic, refresh=refresh)
    output.document(measured)
    if path is not None:
        output.note(f"wrote {measured.save(path)}")
    output.next_step(after_profile(model, measured, path, building, machine, analytic=analytic))
