"""What ``--help`` looks like: a command's words, its examples, then its options in groups; plain text, so that it is
quick and the same in a pipe."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

COMMON_PANEL = "Terminal"
_NARROW = 52
"""Columns below which help is laid out for a narrow terminal; click's own formatter stops shrinking there."""
_LEAST = 30
_FIRST_COLUMN, _FIRST_COLUMN_NARROW = 30, 8


def width_of_help() -> int | None:
    """Columns for help on a narrow terminal; None where click's own rule does."""
    columns = shutil.get_terminal_size().columns
    return max(columns - 2, _LEAST) if columns < _NARROW else None


def split_examples(doc: str) -> tuple[str, str, tuple[str, ...]]:
    """A docstring's words, and the title and commands of the examples that end it."""
    words, _, examples = inspect.cleandoc(doc).partition("\n\n\b\n")
    title, *commands = [line.strip() for line in examples.splitlines() if line.strip()] or [""]
    return words, title, tuple(commands)


def write_words_and_examples(doc: str, formatter: Any) -> None:
    """The part of help between usage and options."""
    from partkit.data.wrap import wrapped_command

    words, title, commands = split_examples(doc)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(words)
        formatter.write_paragraph()
        formatter.write(f"{'':>{formatter.current_indent}}{title}\n")
        formatter.indent()
        for command in commands:
            margin = " " * formatter.current_indent
            folded = wrapped_command(command, formatter.width - len(margin), indent="    ")
            formatter.write("".join(f"{margin}{line}\n" for line in folded.splitlines()))
        formatter.dedent()


class GroupedCommand(TyperCommand):
    """A command whose help lists its options in groups: its own first, then each group that it shares.

    typer draws groups with rich alone, which takes longer to import than all else that help needs.
    """

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, and its examples."""
        del ctx
        write_words_and_examples(self.help or "", formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections under them."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None)
                panel = COMMON_PANEL if parameter.name == "help" else panel or "Options"
                sections.setdefault(panel, []).append(record)
        common = sections.pop(COMMON_PANEL, [])
        for title, records in [*sections.items(), (COMMON_PANEL, common)]:
            if records:
                with formatter.section(title):
                    write_records(records, formatter)


def write_records(records: Sequence[tuple[str, str]], formatter: Any) -> None:
    """Names beside what they mean, on a narrow terminal above it; a name that is too long is broken between choices."""
    is_narrow = formatter.width < _NARROW - 2
    room = formatter.width - formatter.current_indent
    fitting = [(_broken_at_choices(name, room), meaning) for name, meaning in records]
    formatter.write_dl(fitting, col_max=_FIRST_COLUMN_NARROW if is_narrow else _FIRST_COLUMN)


def _broken_at_choices(name: str, width: int) -> str:
    lines = [""]
    for part in name.replace("|", "| ").split(" "):
        glue = "" if lines[-1].endswith("|") or not lines[-1] else " "
        if lines[-1] and len(lines[-1]) + len(glue) + len(part) > width:
            lines.append(f"      {part}")
        else:
            lines[-1] += f"{glue}{part}"
    return "\n".join(lines)
