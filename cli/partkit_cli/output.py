"""The only printer: data to stdout, everything about the work (notes, progress, warnings, errors) to stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from partkit_cli.failure import READER_GONE, exit_code, sentence

if TYPE_CHECKING:
    from partkit.data.document import Document
    from partkit.data.progress import Progress
    from partkit.reports.sheet import Sheet


@dataclass(frozen=True)
class Output:
    """Where a command's output goes; ``as_json`` keeps stdout to exactly one JSON document."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def text(self, text: str) -> None:
        """Print text for people on stdout; with ``--json``, nothing."""
        if not self.as_json:
            print(text, flush=True)

    def document(self, document: Document) -> None:
        """Print a document on stdout: its JSON with ``--json``, else its view for people."""
        if self.as_json:
            print(document.to_json(), end="", flush=True)
            return
        from partkit.reports.sheets import sheet_of

        self.sheet(sheet_of(document))

    def sheet(self, sheet: Sheet) -> None:
        """Print a sheet for people on stdout; with ``--json``, nothing."""
        if self.as_json:
            return
        from partkit.reports.table import render_sheet

        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if terminal else None
        colour = terminal and "NO_COLOR" not in os.environ
        print(render_sheet(sheet, width=width, colour=colour), end="", flush=True)

    def json(self, data: object) -> None:
        """Print JSON data on stdout if ``--json`` was asked for."""
        if self.as_json:
            print(json.dumps(data, indent=2, ensure_ascii=False), flush=True)

    def note(self, text: str) -> None:
        """Say on stderr what happened; silent with ``--quiet``."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        """Say on stderr what may surprise."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def failure(self, error: BaseException) -> int:
        """Say on stderr why a command ended, with the traceback if ``--verbose``; returns the exit code."""
        code = exit_code(error)
        if code == READER_GONE:
            # Python flushes stdout once more at exit; without this it would complain there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return code
        if self.verbose:
            traceback.print_exception(error, file=sys.stderr)
        print(f"partkit: {sentence(error)}", file=sys.stderr, flush=True)
        return code

    def usage_error(self, error: typer.TyperException) -> int:
        """Say on stderr what is wrong with the command line in one sentence; returns the exit code."""
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "partkit"
        message = " ".join(error.format_message().split()).rstrip(".?")
        print(f"{command}: {message}; see '{command} --help'", file=sys.stderr, flush=True)
        return error.exit_code

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A listener for long work: bars on a terminal's stderr, a line for each step elsewhere."""
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            from partkit_cli.bars import progress_bars

            with progress_bars() as listener:
                yield listener
        else:
            yield _Lines(self)


class _Lines:
    """Progress where bars cannot be drawn: each label once."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        del done, total
        if label != self._last:
            self._last = label
            self._output.note(label)
