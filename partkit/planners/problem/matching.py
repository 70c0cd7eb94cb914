"""Which nodes a regular expression of the request names.

Expressions may come with a plan from anybody, and Python's own engine takes for ever over some (``(a+)+$``). The one
that pydantic has its texts checked with (Rust's) takes a time proportional to the text, whatever the expression; it
knows no look-around and no back-references.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator, core_schema

from partkit.data.patterns import require_regex
from partkit.data.reading import shown
from partkit.errors import UsageError
from partkit.planners.costs.graph import Graph


def matching_nodes(graph: Graph, pattern: str, *, option: str) -> list[int]:
    """Nodes whose module path holds a match of ``pattern`` from dot to dot, or whose whole name matches.

    ``encoder.layer.1`` matches ``bert.encoder.layer.1.attention`` and not ``bert.encoder.layer.11``. Raises
    :class:`UsageError` naming ``option`` for no regular expression and for one that matches nothing.
    """
    require_regex(option, pattern)
    in_path, whole = (
        _tester(text, pattern, option) for text in (rf"(?:^|\.)(?:{pattern})(?:\.|$)", f"^(?:{pattern})$")
    )
    matched = [index for index, node in enumerate(graph.nodes) if in_path(node.module) or whole(node.name)]
    if not matched:
        raise UsageError(
            f"{option} {shown(pattern)} matches no node", hint="give the start of a module path, as 'encoder.layer.0'"
        )
    return matched


def _tester(expression: str, pattern: str, option: str) -> Callable[[str], bool]:
    """Whether a text holds a match of ``expression``, which was made of ``pattern``."""
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))
    except SchemaError:
        raise UsageError(
            f"{option} {shown(pattern)} looks around, refers back or is too large",
            hint="write it without (?=, (?!, (?<, \\1 and large repetitions, as several options if need be",
        ) from None
    return validator.isinstance_python
