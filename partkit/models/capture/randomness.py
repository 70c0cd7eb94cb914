"""Operations that draw random numbers each time: a model with one gives no two equal outputs."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import fx

from partkit.models.capture.captured import Capture, is_random

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>.*)')
_NOT_THE_MODELS = (f"{Path(torch.__file__).parent}/", "<")
_OFF = ("train", "training", "dropout_p", "dropout", "p")
"""Arguments that say by 0 or False that nothing is drawn, the first of them that an operation has."""


def random_draws(captured: Capture) -> str | None:
    """A sentence on the first operation that draws, with its line; None where there is none."""
    drawing = [node for node in captured.graph.nodes if node.op == "call_function" and _draws(node)]
    if not drawing:
        return None
    more = f" and {len(drawing) - 1} more" if len(drawing) > 1 else ""
    return f"the model draws random numbers ({drawing[0].target}{_line_of(drawing[0])}{more}): no two runs agree"


def _draws(node: fx.Node) -> bool:
    if not is_random(node):
        return False
    assert isinstance(node.target, torch._ops.OpOverload)
    arguments = [argument.name for argument in node.target._schema.arguments]
    for name in _OFF:
        if name in arguments:
            place = arguments.index(name)
            default = node.target._schema.arguments[place].default_value
            value = node.args[place] if place < len(node.args) else node.kwargs.get(name, default)
            return not isinstance(value, bool | int | float) or bool(value)
    return True


def _line_of(node: fx.Node) -> str:
    """The innermost line of the model's own code that the operation came from."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    own = [frame for frame in frames if not frame["file"].startswith(_NOT_THE_MODELS)]
    return " at {file}:{line} in {function} ({code})".format(**own[-1].groupdict()) if own else ""
