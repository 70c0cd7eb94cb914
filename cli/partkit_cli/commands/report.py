"""``partkit report``: results as one page to read and to send to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.completion import file_names
from partkit_cli.output import Output


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...", help="Comparison, run, plan, profile and cluster files.", autocompletion=file_names
        ),
    ],
    output: Output,
    path: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.", writable=True)
    ] = Path("report.html"),
) -> None:
    """Make one HTML page of results.

    The verdict, figures with intervals, stages, the model and its cuts. The page fetches nothing, works without
    JavaScript, and holds the files that it was made from. With a plan it draws the model, from the profile that is
    named or that this machine keeps.

    \b
    Examples:
      partkit report bert2.comparison.json plans/bert2.json -o report.html
      partkit report run.json plans/bert2.json bert.profile.json
    """
    from partkit.data.files import load_document
    from partkit.data.units import format_bytes
    from partkit_cli.reporting import require_own_place, write_report

    require_own_place(path, paths)
    documents = {str(each): load_document(each) for each in paths}
    with output.waiting("Making the page"):
        size = write_report(documents, path)
    output.json({"kind": "report", "file": str(path), "bytes": size, "made_from": list(documents)})
    output.note(f"wrote {path} ({format_bytes(size)})")
    output.next_page(path)
