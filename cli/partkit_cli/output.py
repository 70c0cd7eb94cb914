"""The only printer: data to stdout, everything about the work (notes, progress, warnings, errors) to stderr."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import typer

from partkit.data.printable import escaped_json, lines
from partkit.data.progress import step_of
from partkit.errors import CacheWarning, RestartWarning
from partkit_cli.failure import StdoutLostError, exit_code, message_and_hint, sentence
from partkit_cli.standings import RoundLines
from partkit_cli.streams import columns_of, is_coloured, let_go

if TYPE_CHECKING:
    from pathlib import Path

    from partkit.data.document import Document
    from partkit.data.result import Row
    from partkit.reports.sheet import Sheet


@dataclass
class Output:
    """Where a command's words go; ``as_json`` keeps stdout to exactly one JSON document, of an error too."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    _has_document: bool = field(default=False, init=False, repr=False)

    def text(self, text: str) -> None:
        """Print text for people on stdout; with ``--json``, nothing."""
        if not self.as_json:
            self._print(f"{lines(text)}\n")

    def piece(self, text: str) -> None:
        """Print part of a line for people on stdout, as it comes; with ``--json``, nothing."""
        if not self.as_json:
            self._print(lines(text))

    def document(self, document: Document) -> None:
        """Print a document on stdout: its JSON with ``--json``, else its view for people."""
        if self.as_json:
            self._print_document(document.to_json())
            return
        from partkit.reports.sheets import sheet_of

        self.sheet(sheet_of(document))

    def sheet(self, sheet: Sheet) -> None:
        """Print a sheet for people on stdout; with ``--json``, nothing."""
        if self.as_json:
            return
        from partkit.reports.table import render_sheet

        self._print(render_sheet(sheet, width=columns_of(sys.stdout), colour=is_coloured(sys.stdout)))

    def json(self, data: object) -> None:
        """Print JSON data on stdout if ``--json`` was asked for."""
        if self.as_json:
            self._print_document(escaped_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")

    def note(self, text: str) -> None:
        """Say on stderr what happened; silent with ``--quiet``."""
        if not self.quiet:
            _say(text)

    def next_step(self, command: Sequence[str]) -> None:
        """Hint on stderr at the command that most likely comes next; silent with ``--json`` and ``--quiet``."""
        if not (self.as_json or self.quiet):
            _say_command(f"next: {shlex.join(('partkit', *command))}")

    def next_page(self, page: Path) -> None:
        """The same for a page that was written."""
        if not self.as_json:
            self.note(f"next: open {page} in a browser")

    def warning(self, text: str) -> None:
        """Say on stderr what may surprise."""
        _say(f"warning: {text}")

    def failure(self, error: BaseException) -> int:
        """Say on stderr why a command ended, with the traceback if ``--verbose``; returns the exit code."""
        code = exit_code(error)
        if isinstance(error, StdoutLostError):
            let_go(sys.stdout)
            if error.reader_is_gone:
                return code
        if self.verbose:
            _write(lines("".join(traceback.format_exception(error)).rstrip("\n")))
        _say(f"partkit: {sentence(error)}")
        self._error(code, *message_and_hint(error))
        return code

    def usage_error(self, error: typer.TyperException) -> int:
        """Say on stderr what is wrong with the command line in one sentence; returns the exit code."""
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "partkit"
        message = " ".join(error.format_message().split()).rstrip(".?")
        hint = f"see '{command} --help'"
        _say(f"{command}: {message}; {hint}")
        self._error(error.exit_code, message, hint)
        return error.exit_code

    def _error(self, code: int, message: str, hint: str | None) -> None:
        """The error as the one document of ``--json``, unless that is told already or rank 0's to tell."""
        from partkit.ranks.launch import started_by_launcher

        is_other_rank = started_by_launcher() and os.environ["RANK"] != "0"
        if self._has_document or is_other_rank:
            return
        try:
            self.json({"kind": "error", "code": code, "message": message, "hint": hint})
        except StdoutLostError:
            let_go(sys.stdout)

    def _print_document(self, text: str) -> None:
        self._has_document = True
        self._print(text)

    def _print(self, text: str) -> None:
        try:
            print(text, end="", flush=True)
        except OSError as error:
            raise StdoutLostError(error) from error

    @contextmanager
    def telling_warnings(self) -> Iterator[None]:
        """Say the library's own warnings as :meth:`warning` does, each once."""
        told: set[str] = set()

        def tell(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
            if not issubclass(category, CacheWarning | RestartWarning):
                others(message, category, *where, **named)
            elif str(message) not in told:
                told.add(str(message))
                self.warning(str(message))

        with warnings.catch_warnings():
            for own in (CacheWarning, RestartWarning):
                warnings.simplefilter("always", own)
            others, warnings.showwarning = warnings.showwarning, tell
            yield

    @contextmanager
    def progress(self) -> Iterator[Listener | None]:
        """A listener for long work: bars on a terminal's stderr, a line for each step elsewhere."""
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            from partkit_cli.bars import progress_bars

            with progress_bars() as listener:
                yield listener
        else:
            yield _Lines(self)

    @contextmanager
    def waiting(self, label: str) -> Iterator[None]:
        """Show on a terminal that something is under way of which nobody knows how far it is; elsewhere, nothing."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        begin = time.monotonic()
        from partkit_cli.bars import progress_bars

        with progress_bars() as steps:
            steps(label, 0, 0)
            yield
            if time.monotonic() - begin < _WORTH_TELLING_S:
                steps.drop()


_WORTH_TELLING_S = 1.0
"""Least duration of a step that :meth:`Output.waiting` leaves a tick of."""


class Listener(Protocol):
    """Is told how far long work is, and what executors of a comparison have reached."""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """See :data:`partkit.data.progress.Progress`."""

    def row(self, row: Row, number: int, rounds: int) -> None:
        """See :data:`partkit.runs.compare.Standing`."""


class _Lines:
    """Progress where bars cannot be drawn: each step once."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""
        self._rounds = RoundLines()

    def __call__(self, label: str, done: int, total: int, /) -> None:
        del done, total
        step, _ = step_of(label)
        if step != self._last:
            self._last = step
            self._output.note(step)

    def row(self, row: Row, number: int, rounds: int) -> None:
        for said in self._rounds.after(row, number, rounds):
            self._output.note(said)


def _say(text: str) -> None:
    """A sentence on stderr, in lines as long as its terminal is wide."""
    width = columns_of(sys.stderr)
    if width is None:
        _write(lines(text))
        return
    from partkit.data.wrap import wrapped

    _write(wrapped(lines(text), width, indent="  "))


def _say_command(text: str) -> None:
    """The same of a command, which a shell still takes as one."""
    width = columns_of(sys.stderr)
    if width is None:
        _write(lines(text))
        return
    from partkit.data.wrap import wrapped_command

    _write(wrapped_command(lines(text), width))


def _write(text: str) -> None:
    """Lines on stderr; where that is lost, the work goes on without it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        let_go(sys.stderr)
