"""What synthetic indices may be drawn from: an integer input that picks rows of a table must stay within the table."""

from __future__ import annotations

import torch
from torch import fx

from partkit.data.model import InputSpec

aten = torch.ops.aten

_KEEPS_VALUES = frozenset(
    (
        *(aten.to.dtype, aten.to.device, aten.to.dtype_layout, aten._to_copy.default, aten.clone.default),
        *(aten.view.default, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dim, aten.expand.default),
        *(aten.slice.Tensor, aten.select.int, aten.transpose.int, aten.permute.default, aten.flatten.using_ints),
        *(aten.contiguous.default, aten.alias.default, aten.detach.default, aten.t.default),
    )
)
"""Operations that give their first operand's numbers again, some of them or in another shape."""


def narrowed_inputs(graph: fx.Graph, inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
    """The inputs with ranges that the tables bear which they index.

    On the CPU an index past the end is an error, on CUDA a device assert that ends the process.
    """
    placeholders = graph.find_nodes(op="placeholder")
    return tuple(_narrowed(each, node) for each, node in zip(inputs, placeholders, strict=True))


def _narrowed(spec: InputSpec, placeholder: fx.Node) -> InputSpec:
    value = placeholder.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.is_floating_point() or value.is_complex():
        return spec
    rows = min(_rows_of_tables(placeholder), default=None)
    low, high = spec.range or (0, 2)
    if rows is None or high <= rows:
        return spec
    return spec.model_copy(update={"range": (low if low < rows else 0, rows)})


def _rows_of_tables(placeholder: fx.Node) -> list[int]:
    """The length of each table that the input's own numbers index, where it is fixed."""
    found: list[int] = []
    seen, waiting = {placeholder}, [placeholder]
    while waiting:
        node = waiting.pop()
        for user in node.users:
            rows = _rows_indexed(user, node)
            if isinstance(rows, int) and rows > 0:
                found.append(rows)
            elif user.target in _KEEPS_VALUES and user.args[0] is node and user not in seen:
                seen.add(user)
                waiting.append(user)
    return found


def _rows_indexed(user: fx.Node, index: fx.Node) -> int | torch.SymInt | None:
    """The length of what ``user`` picks from by ``index``; None where it does no such thing."""
    if user.target in (aten.embedding.default, aten.embedding_bag.padding_idx, aten.embedding_bag.default):
        return _shape(user.args[0])[0] if user.args[1] is index else None
    if user.target in (aten.index_select.default, aten.gather.default):
        return _shape(user.args[0])[int(user.args[1])] if user.args[2] is index else None  # type: ignore[arg-type]
    if user.target is aten.index.Tensor and user.args[1][0] is index:  # type: ignore[index]
        return _shape(user.args[0])[0]
    return None


def _shape(operand: object) -> torch.Size:
    assert isinstance(operand, fx.Node)
    return operand.meta["val"].shape  # type: ignore[no-any-return]
