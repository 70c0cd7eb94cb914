"""Outputs of a run: written as a reference, and compared with one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from partkit.data.replies import OutputDifference
from partkit.executors.protocol import Leaves, Trace


def write_outputs(trace: Trace, path: Path) -> int:
    """Write the outputs that a run kept, each leaf as ``item.index``; returns how many tensors that are."""
    tensors = {f"{item}.{index}": leaf.contiguous() for item, index, leaf in _tensors(trace)}
    save_file(tensors, path)
    return len(tensors)


def compare_outputs(trace: Trace, reference: Path, *, num_inputs: int) -> OutputDifference | None:
    """Outputs beside the reference's, which has one item of each distinct input; None where the run kept none."""
    if not trace.outputs:
        return None
    worst, largest, matches = 0.0, 0.0, True
    with safe_open(reference, framework="pt") as file:
        expected = set(file.keys())
        for item, index, leaf in _tensors(trace):
            key = f"{item % num_inputs}.{index}"
            if key not in expected or tuple(file.get_slice(key).get_shape()) != tuple(leaf.shape):
                matches = False
                continue
            tensor = file.get_tensor(key)
            worst = max(worst, difference(leaf.double(), tensor.double()))
            largest = max(largest, _max_abs(tensor.double()[tensor.isfinite()]))
    is_finite = worst < float("inf")
    return OutputDifference(max_abs_diff=worst if is_finite else None, max_abs=largest, matches=matches and is_finite)


def difference(given: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference; where the model itself gives an infinity or no number, the same counts as equal.

    >>> difference(torch.tensor([1.0, float("nan")]), torch.tensor([1.5, float("nan")]))
    0.5
    """
    same = (given == reference) | (given.isnan() & reference.isnan())
    return _max_abs(torch.where(same, 0.0, given - reference))


def _tensors(trace: Trace) -> list[tuple[int, int, torch.Tensor]]:
    def numbered(leaves: Leaves) -> list[tuple[int, torch.Tensor]]:
        return [(index, leaf) for index, leaf in enumerate(leaves) if leaf is not None]

    return [(item, index, leaf) for item, leaves in trace.outputs.items() for index, leaf in numbered(leaves)]


def _max_abs(tensor: torch.Tensor) -> float:
    """Largest magnitude; infinite where anything is not a number."""
    if tensor.numel() == 0:
        return 0.0
    value = float(tensor.abs().max())
    return value if value == value else float("inf")
