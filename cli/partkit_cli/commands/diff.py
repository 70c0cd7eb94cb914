"""``partkit diff``: what changed between two files of one kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.completion import file_names
from partkit_cli.next_step import after_diff
from partkit_cli.options import FORMAT
from partkit_cli.output import Output


def diff(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="BEFORE", help="A plan, profile, cluster, run or comparison file.", autocompletion=file_names
        ),
    ],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER", help="Another file of the same kind.", autocompletion=file_names)
    ],
    output: Output,
    style: Annotated[str | None, FORMAT] = None,
) -> None:
    """Say what changed between two files.

    Of two plans, profiles, clusters, runs, comparisons or others of one kind: first what matters most in words, then
    every value that differs. Exit code 0 whether or not anything does: "same" in the JSON says which.

    \b
    Examples:
      partkit diff plans/bert2.json plans/bert4.json
      partkit diff before.json after.json --format markdown
      partkit diff before.json after.json --json
    """
    from partkit.data.files import load_document
    from partkit.reports import render
    from partkit.reports.difference import difference
    from partkit_cli.checks import require_format

    require_format(style, output)
    documents = load_document(before), load_document(after)
    found = difference(*documents, (str(before), str(after)))
    if output.as_json or style is None:
        output.document(found)
        output.next_step(after_diff(documents[1], (before, after)))
    else:
        output.text(render(found, style).rstrip("\n"))
