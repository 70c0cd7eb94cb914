"""Turns a plain function into a command: option groups are spread, faults become exit codes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from partkit_cli.failure import OK
from partkit_cli.help_text import COMMON_PANEL, GroupedCommand
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

    Parameters whose type is a dataclass become one option per field, listed under the class's ``panel``; a parameter
    of type :class:`Output` adds ``--json``, ``--quiet`` and ``--verbose``. Options marked ``writable`` name files that
    are to be written, and are looked at before the function is called. The function returns an exit code or None; an
    exception becomes one sentence and its exit code.
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
    written = [parameter.name for parameter in parameters if _is_written(parameter)]

    def invoke(**values: Any) -> int:
        output: Output = _take(Output, values)
        try:
            _require_places([values[name] for name in written])
            grouped = {name: output if kind is Output else _take(kind, values) for name, kind in groups.items()}
            with output.telling_warnings():
                code: int | None = function(**values, **grouped)
            return code or OK
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where faults become exit codes
            return output.failure(error)

    invoke.__doc__ = function.__doc__
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(function.__name__.rstrip("_"), cls=GroupedCommand)(invoke)


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    if group is Output:
        return [_in_panel(parameter, COMMON_PANEL) for parameter in _TERMINAL_OPTIONS]
    hints = get_type_hints(group, include_extras=True)
    parameters = []
    for field in dataclasses.fields(group):
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        parameter = inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )
        parameters.append(_in_panel(parameter, getattr(group, "panel", None)))
    return parameters


def _in_panel(parameter: inspect.Parameter, panel: str | None) -> inspect.Parameter:
    kind, option = get_args(parameter.annotation)
    option = copy.copy(option)
    option.rich_help_panel = panel
    return parameter.replace(annotation=Annotated[kind, option])


def _option_of(parameter: inspect.Parameter) -> OptionInfo | None:
    return next((each for each in get_args(parameter.annotation) if isinstance(each, OptionInfo)), None)


def _is_written(parameter: inspect.Parameter) -> bool:
    option = _option_of(parameter)
    return option is not None and option.writable


def _require_places(paths: Sequence[Path | None]) -> None:
    from partkit.data.writing import require_place

    for path in paths:
        if path is not None:
            require_place(path)


def _take(group: type[Any], values: dict[str, Any]) -> Any:
    if group is Output:
        return Output(**{parameter.name: values.pop(parameter.name) for parameter in _TERMINAL_OPTIONS})
    return group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
