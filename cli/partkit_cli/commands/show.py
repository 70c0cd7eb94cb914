"""``partkit show``: a partkit file, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit_cli.completion import file_names
from partkit_cli.options import FORMAT
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan


def show(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A plan, profile, cluster, run or comparison file.", autocompletion=file_names
        ),
    ],
    output: Output,
    style: Annotated[str | None, FORMAT] = None,
    profile_path: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="A plan's profile; default: as kept when it was planned."),
    ] = None,
) -> None:
    """Show a file that partkit wrote.

    Of a plan also each cut: what crosses it, how its neighbours balance and what moving it by a node would do to the
    plan's period.

    \b
    Examples:
      partkit show plans/bert4.json
      partkit show comparison.json --format markdown
    """
    from partkit.data.files import load_document
    from partkit.data.plan import Plan
    from partkit.reports import render
    from partkit_cli.checks import require_format

    require_format(style, output)
    document = load_document(path)
    if output.as_json or style is None:
        output.document(document)
        if isinstance(document, Plan) and not output.as_json:
            _explain(document, profile_path, output)
    else:
        output.text(render(document, style).rstrip("\n"))


def _explain(plan: Plan, profile_path: Path | None, output: Output) -> None:
    """The plan's cuts, which only its profile can explain."""
    from partkit.data.cache import find_profile
    from partkit.data.profile import Profile
    from partkit.planners import explain_cuts
    from partkit.reports.sheets.cuts import cuts_sheet

    if len(plan.stages) == 1:
        return
    profile = find_profile(plan.profile_sha256) if profile_path is None else Profile.load(profile_path)
    if profile is None:
        source = plan.model.source
        way = "name it with --profile FILE"
        if not plan.model.is_graph:
            way += f", or measure one with 'partkit profile {source} -o FILE'"
        output.note(f"the cuts are not explained: the plan's profile is not kept on this machine; {way}")
        return
    output.text("")
    output.sheet(cuts_sheet(explain_cuts(plan, profile)))
