"""``partkit export``: a plan's cuts for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import export_names, plan_names
from partkit_cli.next_step import after_export
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


def export(
    path: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan file.", autocompletion=plan_names)],
    output: Output,
    target: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="accelerate|deepspeed|llama.cpp|onnx|pt2|torch|transformers|vllm",
            help="The tool; pt2 and onnx: a file for each stage, with its weights.",
            autocompletion=export_names,
        ),
    ],
    profile_path: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="The plan's profile; default: as kept when it was planned."),
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the plan import Python code (py:).")] = False,
    written: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE|FOLDER", help="Write it here; pt2 and onnx need a folder."),
    ] = None,
) -> None:
    """Give a plan's cuts to another tool.

    Settings are printed as the tool takes them. A plan that a tool cannot follow is refused with the reason.

    \b
    Examples:
      partkit export plans/bert2.json --to accelerate -o device_map.json
      partkit export plans/bert2.json --to torch
      partkit export plans/bert2.json --to pt2 -o bert2-stages
    """
    from partkit.data.plan import Plan
    from partkit.data.writing import require_folder, require_place
    from partkit.reports.exports import EXPORTS, STAGE_FILES

    if target not in (*EXPORTS, *STAGE_FILES):
        raise UsageError(
            f"there is no export to {target!r}", hint=f"choose one of {', '.join(sorted((*EXPORTS, *STAGE_FILES)))}"
        )
    if target in STAGE_FILES:
        if written is None:
            raise UsageError(f"--to {target} writes a file for each stage", hint="name a folder for them with -o")
        require_folder(written)
        _write_stages(Plan.load(path), target, written, output, allow_code=allow_code)
        output.next_step(after_export(path, target))
        return
    if written is not None:
        require_place(written)
    from partkit.data.writing import write_text_atomically
    from partkit.reports.exports import export as made_of

    plan = Plan.load(path)
    setting = made_of(plan, _profile(plan, profile_path), target)
    output.json({"kind": "export", "to": target, "setting": setting.data, "notes": list(setting.notes)})
    if written is None:
        output.text(setting.text.rstrip("\n"))
    else:
        write_text_atomically(written, setting.text)
        output.note(f"wrote {written}")
    for told in setting.notes:
        output.note(told)
    output.next_step(after_export(path, target))


def _profile(plan: Plan, path: Path | None) -> Profile:
    """The plan's profile: its nodes' modules are not in the plan."""
    from partkit.data.cache import find_profile
    from partkit.data.profile import Profile

    if path is not None:
        return Profile.load(path)
    kept = find_profile(plan.profile_sha256)
    if kept is None:
        raise UsageError(
            "the plan's profile, which has its modules, is not kept on this machine",
            hint=f"give it with --profile FILE, as 'partkit profile {plan.model.source} -o FILE' writes it",
        )
    return kept


def _write_stages(plan: Plan, form: str, folder: Path, output: Output, *, allow_code: bool) -> None:
    from partkit.runs.export_stages import write_stages

    with output.progress() as progress:
        manifest = write_stages(plan, folder, form, allow_code=allow_code, progress=progress)
    output.json({"kind": "export", "to": form, "setting": manifest, "notes": []})
    for stage in manifest["stages"]:
        output.text(f"{folder / stage['file']}: {', '.join(stage['inputs'])} -> {', '.join(stage['outputs'])}")
    output.note(f"wrote {folder / 'stages.json'}, which says what goes where")
