"""The sentence for the person at the terminal that each exception becomes, and its exit code."""

from __future__ import annotations

import signal

from partkit.errors import PartkitError

OK = 0
FAULT_IN_PARTKIT = 1
USAGE = 2
ENVIRONMENT = 3
OUTPUTS_DIFFER = 6
RESULT_INVALID = 7
HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
READER_GONE = 141
"""128 + SIGPIPE: what a shell reports for any program whose output pipe was closed (``partkit show … | head``)."""


class Interrupted(KeyboardInterrupt):
    """A signal other than Ctrl-C's ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's."""
        return signal.Signals(self.number).name


class StdoutLostError(Exception):
    """Standard output took no more: its reader went away, or its disk is full.

    A type of its own, since the same :class:`OSError` from anywhere else (a rank that died) is another story.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def reader_is_gone(self) -> bool:
        """True where nobody reads any more, which is no fault."""
        return isinstance(self.error, BrokenPipeError)


EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, INTERRUPTED),
    (OSError, ENVIRONMENT),
    (ModuleNotFoundError, ENVIRONMENT),
    (MemoryError, ENVIRONMENT),
)
"""Exit codes of exceptions that are not :class:`PartkitError` (those carry their own); the first match counts."""


def exit_code(error: BaseException) -> int:
    """The exit code for an exception that ended a command."""
    if isinstance(error, PartkitError):
        return error.exit_code
    if isinstance(error, Interrupted):
        return HUNG_UP if error.number == signal.SIGHUP else TERMINATED
    if isinstance(error, StdoutLostError):
        return READER_GONE if error.reader_is_gone else ENVIRONMENT
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), FAULT_IN_PARTKIT)


def message_and_hint(error: BaseException) -> tuple[str, str | None]:
    """What went wrong, and what to do next, for an exception that ended a command."""
    if isinstance(error, PartkitError):
        return error.message, error.hint
    if isinstance(error, KeyboardInterrupt):
        return f"ended by {error.name}" if isinstance(error, Interrupted) else "interrupted", None
    if isinstance(error, MemoryError):
        return "this process ran out of memory", "close other programs, or take a smaller model or file"
    if isinstance(error, StdoutLostError):
        return f"standard output cannot be written: {error.error.strerror}", "send it elsewhere, or make room"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}", "check the path, its permissions and the free space"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("partkit"):
        package = error.name.partition(".")[0]
        return f"the package {package!r} is not installed", f"pip install {package}"
    words = " ".join(str(error).split())
    return (
        f"this is a fault in partkit ({type(error).__name__}: {words})",
        "run the command again with --verbose for the traceback, and report it",
    )


def sentence(error: BaseException) -> str:
    """One sentence for an exception that ended a command; it ends with what to do next."""
    message, hint = message_and_hint(error)
    return message if hint is None else f"{message}; {hint}"
