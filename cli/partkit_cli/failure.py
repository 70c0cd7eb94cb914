"""The sentence for the person at the terminal that each exception becomes, and its exit code."""

from __future__ import annotations

from partkit.errors import PartkitError

OK = 0
FAULT_IN_PARTKIT = 1
ENVIRONMENT = 3
OUTPUTS_DIFFER = 6
RESULT_INVALID = 7
INTERRUPTED = 130
READER_GONE = 141
"""128 + SIGPIPE: what a shell reports for any program whose output pipe was closed (``partkit show … | head``)."""

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, INTERRUPTED),
    (BrokenPipeError, READER_GONE),
    (OSError, ENVIRONMENT),
    (ModuleNotFoundError, ENVIRONMENT),
)
"""Exit codes of exceptions that are not :class:`PartkitError` (those carry their own); the first match counts."""


def exit_code(error: BaseException) -> int:
    """The exit code for an exception that ended a command."""
    if isinstance(error, PartkitError):
        return error.exit_code
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), FAULT_IN_PARTKIT)


def sentence(error: BaseException) -> str:
    """One sentence for an exception that ended a command, with what to do next at its end."""
    if isinstance(error, PartkitError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}; check the path, its permissions and the free space"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("partkit"):
        package = error.name.partition(".")[0]
        return f"the package {package!r} is not installed; pip install {package}"
    words = " ".join(str(error).split())
    return (
        f"this is a fault in partkit ({type(error).__name__}: {words}); "
        "run the command again with --verbose for the traceback, and report it"
    )
