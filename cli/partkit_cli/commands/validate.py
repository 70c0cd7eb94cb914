"""``partkit validate``: check a file again, above all a plan edited by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import file_names
from partkit_cli.next_step import after_plan, after_show
from partkit_cli.options import MachineOptions
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


def validate(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A plan (edited or not), or another partkit file.", autocompletion=file_names
        ),
    ],
    machine: MachineOptions,
    output: Output,
    profile_path: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Profile to check against; default: the plan's own, else measured.",
        ),
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the plan import Python code (py:).")] = False,
    result_path: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the plan, predicted again, here.", writable=True),
    ] = None,
) -> None:
    """Check a file; predict an edited plan again.

    \b
    Examples:
      partkit validate plans/bert4.json
      partkit validate edited.json --profile bert.profile.json -o plans/edited.json
    """
    from partkit.data.files import load_document
    from partkit.data.plan import Plan
    from partkit_cli.checks import require_machine

    require_machine(machine)
    document = load_document(path)
    if not isinstance(document, Plan):
        output.document(document)
        output.note(f"{path} is a valid {document.to_data()['kind']}")
        output.next_step(after_show(document, path))
        return
    profile = _profile(document, profile_path, machine, allow_code=allow_code, output=output)
    from partkit.planners import repredict

    checked = repredict(document, profile)
    if profile.sha256 != document.profile_sha256:
        # Figures then differ even where nobody edited anything, so the label stays as the file has it.
        checked = checked.model_copy(update={"edited": document.edited})
        output.warning("the plan was made from another profile; its figures are predicted again from this one")
    output.document(checked)
    output.note(f"{path} is a valid plan")
    if result_path is not None:
        output.note(f"wrote {checked.save(result_path)}")
    output.next_step(after_plan(checked, result_path or path, machine))


def _profile(plan: Plan, path: Path | None, machine: MachineOptions, *, allow_code: bool, output: Output) -> Profile:
    from partkit.data.profile import Profile

    if path is not None:
        return Profile.load(path)
    from partkit.data.cache import find_profile
    from partkit.runs.profile_model import profile_model

    kept = find_profile(plan.profile_sha256)
    if kept is not None:
        return kept
    if plan.model.is_graph:
        raise UsageError(
            f"the plan is of {plan.model.source}, a graph that cannot be profiled here",
            hint="give the graph's file with --profile",
        )
    if plan.model.runs_own_code and not allow_code:
        raise UsageError(
            f"the plan's model {plan.model.source} runs code of its own",
            hint="if you trust it, add --allow-code; else give its profile with --profile",
        )
    with output.progress() as progress:
        return profile_model(
            plan.model,
            device=machine.device.value,
            threads=machine.threads,
            analytic=plan.node_times.device if plan.node_times.is_analytic else None,
            memory_bytes=machine.memory_bytes,
            progress=progress,
        )
