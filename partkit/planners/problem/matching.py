"""Which nodes a regular expression of the request names."""

from __future__ import annotations

import re

from partkit.errors import UsageError
from partkit.planners.costs.graph import Graph


def matching_nodes(graph: Graph, pattern: str, *, option: str) -> list[int]:
    """Nodes whose module path holds a match of ``pattern`` from dot to dot, or whose whole name matches.

    ``encoder.layer.1`` matches ``bert.encoder.layer.1.attention`` and not ``bert.encoder.layer.11``. Raises
    :class:`UsageError` naming ``option`` for no regular expression and for one that matches nothing.
    """
    try:
        path, name = re.compile(rf"(?:^|.*\.)(?:{pattern})(?=\.|$)"), re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"{option} {pattern!r} is not a regular expression: {error}", hint="escape it, as in 'layer\\.0'"
        ) from None
    matched = [index for index, node in enumerate(graph.nodes) if path.match(node.module) or name.fullmatch(node.name)]
    if not matched:
        raise UsageError(
            f"{option} {pattern!r} matches no node", hint="give the start of a module path, as 'encoder.layer.0'"
        )
    return matched
