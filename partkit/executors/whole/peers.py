"""An error that another library raises while loading is why it cannot run the model, and no failure of the rank."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from partkit.errors import PartkitError, UnsupportedError


@contextlib.contextmanager
def faults_are_reasons(peer: str) -> Iterator[None]:
    """Turn whatever ``peer`` raises into :class:`UnsupportedError` with the first line of its own message."""
    try:
        yield
    except PartkitError:
        raise
    except Exception as error:
        raise UnsupportedError(f"{peer}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """An exception's type and the first line that it says, then its cause's, where it names one.

    >>> one_line(ValueError("no such plan\\nsee the manual"))
    'ValueError: no such plan'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return told if error.__cause__ is None else f"{told.rstrip(' :')} ({one_line(error.__cause__)})"
