"""``partkit show``: a partkit file, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import file_names, format_and_graph_names
from partkit_cli.next_step import after_show
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.document import Document
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


def show(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A plan, profile, cluster, run or comparison file.", autocompletion=file_names
        ),
    ],
    output: Output,
    style: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="table|markdown|csv|json|dot|graphml|model-explorer|model-explorer-times|model-explorer-bytes",
            help="How to show it; from dot on: the graph of a plan or profile, and figures of its nodes.",
            autocompletion=format_and_graph_names,
        ),
    ] = None,
    profile_path: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="A plan's profile; default: as kept when it was planned."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also draw a plan, as one picture.", writable=True)
    ] = None,
) -> None:
    """Show a file that partkit wrote.

    Of a plan also each cut: what crosses it, how its neighbours balance and what moving it by a node would do to the
    plan's period. --svg draws a plan: its stages, what crosses between them, and the model cut over its time.

    \b
    Examples:
      partkit show plans/bert4.json
      partkit show bert2.comparison.json --format markdown
      partkit show plans/bert4.json --format dot > bert4.dot
      partkit show plans/bert4.json --format model-explorer > bert4.graph.json
      partkit show plans/bert4.json --svg bert4.svg
    """
    from partkit.data.files import load_document
    from partkit.data.plan import Plan
    from partkit.reports import render
    from partkit.reports.graph import GRAPH_FORMS
    from partkit_cli.checks import require_format

    if style in GRAPH_FORMS and not output.as_json:
        if picture is not None:
            raise UsageError(f"--format {style} and --svg ask for two drawings", hint="leave one of them out")
        output.text(_graph(load_document(path), path, profile_path, style).rstrip("\n"))
        return
    require_format(style, output, graphs=tuple(GRAPH_FORMS))
    document = load_document(path)
    if picture is not None:
        _draw(document, path, profile_path, picture, output)
    if output.as_json or style is None:
        output.document(document)
        if isinstance(document, Plan) and not output.as_json:
            _explain(document, profile_path, output)
        output.next_step(after_show(document, path))
    else:
        output.text(render(document, style).rstrip("\n"))


_NOT_KEPT = "the plan's profile is not kept on this machine"


def _graph(document: Document, path: Path, profile_path: Path | None, form: str) -> str:
    """The graph of a plan or a profile; another document has none."""
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile
    from partkit.reports.graph import render_graph

    if isinstance(document, Profile):
        return render_graph(document, None, form)
    if not isinstance(document, Plan):
        raise UsageError(f"{path} has no graph to show as {form}", hint="name a plan or a profile")
    profile = _profile(document, profile_path)
    if profile is None:
        raise UsageError(f"{path} cannot be shown as {form}: {_NOT_KEPT}", hint=_way_to_profile(document))
    _require_nodes(document, path, profile)
    return render_graph(profile, document, form)


def _require_nodes(plan: Plan, path: Path, profile: Profile) -> None:
    known = {node.name for node in profile.nodes}
    unknown = [name for name in plan.stage_by_node if name not in known]
    if unknown:
        raise UsageError(
            f"{len(unknown)} nodes of {path} are not in the profile, the first being {unknown[0]!r}",
            hint=_way_to_profile(plan),
        )


def _draw(document: Document, path: Path, profile_path: Path | None, picture: Path, output: Output) -> None:
    """Write a plan's picture, with the model over its time where the plan's profile is here."""
    from partkit.data.plan import Plan
    from partkit.data.writing import write_text_atomically
    from partkit.planners import explain_cuts
    from partkit.reports.page.picture import picture_svg

    if not isinstance(document, Plan):
        raise UsageError(f"{path} is no plan, and --svg draws plans", hint="name a plan, as plans/bert2.json")
    profile = _profile(document, profile_path)
    if profile is None:
        output.note(f"the picture is without the model over its time: {_NOT_KEPT}; {_way_to_profile(document)}")
    else:
        _require_nodes(document, path, profile)
    with output.waiting("Drawing the plan"):
        cuts = explain_cuts(document, profile) if profile is not None and len(document.stages) > 1 else ()
    write_text_atomically(picture, picture_svg(document, profile, cuts))
    output.note(f"wrote {picture}")


def _profile(plan: Plan, profile_path: Path | None) -> Profile | None:
    """The profile named, else the plan's own if this machine keeps it."""
    from partkit.data.cache import find_profile
    from partkit.data.profile import Profile

    return find_profile(plan.profile_sha256) if profile_path is None else Profile.load(profile_path)


def _way_to_profile(plan: Plan) -> str:
    way = "name it with --profile FILE"
    return way if plan.model.is_graph else f"{way}, or measure one with 'partkit profile {plan.model.source} -o FILE'"


def _explain(plan: Plan, profile_path: Path | None, output: Output) -> None:
    """The plan's cuts, which only its profile can explain."""
    from partkit.planners import explain_cuts
    from partkit.reports.sheets.cuts import cuts_sheet

    if len(plan.stages) == 1:
        return
    profile = _profile(plan, profile_path)
    if profile is None:
        output.note(f"the cuts are not explained: {_NOT_KEPT}; {_way_to_profile(plan)}")
        return
    with output.waiting("Explaining cuts"):
        cuts = explain_cuts(plan, profile)
    output.text("")
    output.sheet(cuts_sheet(cuts))
