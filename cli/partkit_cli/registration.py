"""Turns a plain function into a command: option groups are spread, faults become exit codes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from partkit_cli.output import Output

_TERMINAL_OPTIONS = (
    inspect.Parameter(
        "as_json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")],
    ),
    inspect.Parameter(
        "quiet",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")],
    ),
    inspect.Parameter(
        "verbose",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")],
    ),
)


def register(app: typer.Typer, function: Callable[..., int | None]) -> None:
    """Add ``function`` to ``app`` under its own name.

    Parameters whose type is a dataclass become one option per field; a parameter of type
    :class:`Output` adds ``--json``, ``--quiet`` and ``--verbose``. The function returns an exit code or
    None; an exception becomes one sentence and its exit code.
    """
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _parameters_of(hints[name])
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    def invoke(**values: Any) -> int:
        grouped = {name: _take(kind, values) for name, kind in groups.items()}
        output = next(group for group in grouped.values() if isinstance(group, Output))
        try:
            return function(**values, **grouped) or 0
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where faults become exit codes
            return output.failure(error)

    invoke.__doc__ = function.__doc__
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(function.__name__)(invoke)


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    if group is Output:
        return list(_TERMINAL_OPTIONS)
    hints = get_type_hints(group, include_extras=True)
    parameters = []
    for field in dataclasses.fields(group):
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name])
        )
    return parameters


def _take(group: type[Any], values: dict[str, Any]) -> Any:
    return group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
