"""``partkit help``: what a command does."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.output import Output


def help_(
    context: typer.Context,
    output: Output,
    command: Annotated[str | None, typer.Argument(metavar="[COMMAND]", help="A command; none: all of them.")] = None,
) -> None:
    """Explain partkit, or one of its commands.

    \b
    Examples:
      partkit help
      partkit help plan
    """
    whole = context.parent
    assert whole is not None
    shown = whole
    if command is not None:
        names = whole.command.list_commands(whole)  # type: ignore[attr-defined]
        if command not in names:
            near = difflib.get_close_matches(command, names, n=2)
            raise UsageError(
                f"there is no command {command!r}",
                hint=f"did you mean {' or '.join(near)}?" if near else f"the commands are {', '.join(names)}",
            )
        found = whole.command.get_command(whole, command)  # type: ignore[attr-defined]
        shown = type(whole)(found, info_name=command, parent=whole)
        shown.max_content_width, shown.help_option_names = whole.max_content_width, whole.help_option_names
    text = shown.command.get_help(shown)
    output.json({"kind": "help", "command": command, "text": text})
    output.text(text)
