"""``partkit show``: a partkit file, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.output import Output


def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A plan, profile, cluster, run or comparison file.")],
    output: Output,
    style: Annotated[str | None, typer.Option("--format", metavar="NAME", help="table, markdown, csv or json.")] = None,
) -> None:
    """Show a file that partkit wrote.

    \b
    Examples:
      partkit show plans/bert4.json
      partkit show comparison.json --format markdown
    """
    from partkit.files import load_document
    from partkit.reports import render

    document = load_document(path)
    if output.as_json or style is None:
        output.document(document)
    else:
        output.text(render(document, style).rstrip("\n"))
