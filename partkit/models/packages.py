"""Packages that only some models and executors need: imported when asked for, faults told in one sentence."""

from __future__ import annotations

import importlib
from typing import Any

from partkit.errors import MachineError


def import_package(name: str, *, install: str) -> Any:
    """The package or module. Raises :class:`MachineError` with the root of the fault where it can't be imported.

    A package that isn't there is told apart from one that is there and broken (made for another torch or numpy,
    shadowed by a file of the same name): ``install`` is the command for the first.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken package raises anything at its import
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise MachineError(f"{package} can't be imported (it isn't installed)", hint=install) from None
        raise MachineError(
            f"{package} can't be imported ({import_fault(error)})",
            hint=f"""'python -c "import {name}"' shows where: it, or what it imports, is broken, made for other """
            "versions, or hidden by a file of the same name",
        ) from error


def import_fault(error: BaseException) -> str:
    """The first cause of an import's failure, which lazy packages wrap in errors of their own.

    >>> import_fault(ImportError("numpy.core failed\\nmany lines"))
    'ImportError: numpy.core failed'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
