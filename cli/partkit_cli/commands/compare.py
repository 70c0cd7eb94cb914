"""``partkit compare``: run several executors on the same model and say which is best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit_cli.failure import OK, RESULT_INVALID
from partkit_cli.options import MachineOptions, ModelOptions, PlanOptions, refuse
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.plan import Plan

DEFAULT_EXECUTORS = "single,pipeline,dispatch,fsdp"
ROUNDS, SECONDS_PER_ROUND = 9, 2.0
QUICK_ROUNDS, QUICK_SECONDS_PER_ROUND = 3, 0.5


def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL|PLAN", help="A plan file, a model, or a profile's file.")],
    building: ModelOptions,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
    executors: Annotated[str, typer.Option("--with", metavar="A,B,C", help="Executors.")] = DEFAULT_EXECUTORS,
    rounds: Annotated[int | None, typer.Option(min=1, help="Interleaved rounds of each executor.")] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let a plan import Python code (py:).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Short rounds, labelled so.")] = False,
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the comparison.")
    ] = None,
) -> int:
    """Measure executors side by side.

    Interleaved rounds on the same weights and inputs; outputs are checked before a speed counts.

    \b
    Examples:
      partkit compare bert --stages 2
      partkit compare plans/bert2.json --with single,pipeline,fsdp --quick
    """
    from partkit.compare import CompareOptions, compare_executors

    plan, plan_path, typed = _plan(model, building, planning, machine, output)
    options = CompareOptions(
        executors=tuple(name.strip() for name in executors.split(",") if name.strip()),
        rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
        seconds_per_round=QUICK_SECONDS_PER_ROUND if quick else SECONDS_PER_ROUND,
        device=machine.device.value,
        threads=machine.threads,
        allow_code=allow_code or typed,
        quick=quick,
    )
    with output.progress() as progress:
        comparison = compare_executors(plan, options, progress=progress)
    output.document(comparison)
    if path is not None:
        output.note(f"wrote {comparison.save(path)}")
    output.text(f"plan: {plan_path}")
    return OK if comparison.valid else RESULT_INVALID


def _plan(
    model: str, building: ModelOptions, planning: PlanOptions, machine: MachineOptions, output: Output
) -> tuple[Plan, Path, bool]:
    """The plan, its file, and whether the person typed the model's name (which is consent to its code)."""
    from partkit.files import load_document
    from partkit.plan import Plan
    from partkit_cli.planning import is_file, plan_for, profile_of, write_plan

    if is_file(model):
        document = load_document(model)
        if isinstance(document, Plan):
            refuse(building, model, "plan")
            refuse(planning, model, "plan")
            return document, Path(model), False
    profile = profile_of(model, building, machine, output)
    plan = plan_for(profile, planning, machine, output)
    return plan, write_plan(plan, None, output), not is_file(model)
