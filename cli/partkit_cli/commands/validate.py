"""``partkit validate``: check a file again, above all a plan edited by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.options import MachineOptions
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.plan import Plan
    from partkit.profile import Profile


def validate(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A plan (edited or not), or another partkit file.")],
    machine: MachineOptions,
    output: Output,
    profile_path: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="Profile to check a plan against; default: measured here."),
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the plan import Python code (py:).")] = False,
    result_path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan, predicted again, here.")
    ] = None,
) -> None:
    """Check a file; predict an edited plan again.

    \b
    Examples:
      partkit validate plans/bert4.json
      partkit validate edited.json --profile profile.json -o plans/edited.json
    """
    from partkit.planners import repredict

    from partkit.files import load_document
    from partkit.plan import Plan

    document = load_document(path)
    if not isinstance(document, Plan):
        output.document(document)
        output.note(f"{path} is a valid {document.to_data()['kind']}")
        return
    profile = _profile(document, profile_path, machine, allow_code=allow_code, output=output)
    checked = repredict(document, profile)
    output.document(checked)
    output.note(f"{path} is a valid plan")
    if result_path is not None:
        output.note(f"wrote {checked.save(result_path)}")


def _profile(plan: Plan, path: Path | None, machine: MachineOptions, *, allow_code: bool, output: Output) -> Profile:
    if path is not None:
        from partkit.profile import Profile

        return Profile.load(path)
    if plan.model.is_graph:
        raise UsageError(
            f"the plan is of {plan.model.source}, a graph that cannot be profiled here",
            hint="give the graph's file with --profile",
        )
    if plan.model.source.startswith("py:") and not allow_code:
        raise UsageError(
            f"the plan's model {plan.model.source} is Python code",
            hint="if you trust it, add --allow-code; else give its profile with --profile",
        )
    from partkit.workflow import profile_model

    with output.progress() as progress:
        return profile_model(
            plan.model,
            device=machine.device.value,
            threads=machine.threads,
            progress=progress,
        )
