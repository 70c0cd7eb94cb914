"""Outputs of a run: written as a reference, and compared with one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from partkit.data.replies import CastError, OutputDifference
from partkit.executors.protocol import Trace
from partkit.stages.cut import Leaves

_METADATA = "partkit"
"""Key of the reference file's metadata: what is known of its outputs beside their numbers."""


def write_outputs(trace: Trace, path: Path, cast_error: CastError | None = None) -> int:
    """Write the outputs that a run kept, each leaf as ``item.index``; returns how many tensors that are."""
    tensors = {
        f"{item}.{index}": _stored(leaf)
        for item, leaves in trace.outputs.items()
        for index, leaf in enumerate(leaves)
        if leaf is not None
    }
    told = {
        "names": list(trace.names),
        "kinds": {str(item): [_kind(leaf) for leaf in leaves] for item, leaves in trace.outputs.items()},
        "cast_error": None if cast_error is None else cast_error.model_dump(),
    }
    save_file(tensors, path, metadata={_METADATA: json.dumps(told)})
    return len(tensors)


def compare_outputs(trace: Trace, reference: Path, *, num_inputs: int) -> OutputDifference | None:
    """Outputs beside the reference's, which has one item of each distinct input; None where the run kept none."""
    if not trace.outputs:
        return None
    with safe_open(reference, framework="pt") as file:
        told = json.loads(file.metadata()[_METADATA])
        seen = _Comparison(told["names"])
        for item, leaves in trace.outputs.items():
            seen.add(item, leaves, told["kinds"][str(item % num_inputs)], file, item % num_inputs)
    cast_error = None if told["cast_error"] is None else CastError(**told["cast_error"])
    return seen.result(cast_error)


def cast_error_of(outputs: Sequence[Leaves], exact: Sequence[Leaves]) -> CastError:
    """How far floating outputs are from those of the same model before its cast, over all items."""
    worst, share = 0.0, 0.0
    for given, wanted in zip(outputs, exact, strict=True):
        for one, other in zip(given, wanted, strict=True):
            if one is None or other is None or not (other.is_floating_point() or other.is_complex()):
                continue
            found = difference(_wide(one), _wide(other))
            worst = max(worst, found)
            share = max(share, found / max(_max_abs(_finite(other)), torch.finfo(torch.float32).tiny))
    return CastError(max_abs_diff=worst, share=share)


def difference(given: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference; where the model itself gives an infinity or no number, the same counts as equal.

    >>> difference(torch.tensor([1.0, float("nan")]), torch.tensor([1.5, float("nan")]))
    0.5
    """
    return _max_abs(torch.where(_is_same(given, reference), 0.0, given - reference))


@dataclass
class _Comparison:
    """What has been seen of the outputs so far."""

    names: list[str]
    worst: float = 0.0
    largest: float = 0.0
    what: str | None = None
    """The first output that cannot be compared, or else the one that is furthest off."""
    matches: bool = True
    num_finite: int = 0
    not_finite: dict[str, None] | None = None

    def add(self, item: int, leaves: Leaves, kinds: list[str | None], file: Any, reference_item: int) -> None:
        """One item's outputs."""
        if len(leaves) != len(kinds):
            self._mismatch(f"{len(leaves)} outputs, and the unsplit model returns {len(kinds)}")
            return
        for index, (leaf, kind) in enumerate(zip(leaves, kinds, strict=True)):
            name = f"output {self.names[index] if index < len(self.names) else index!s} of item {item}"
            if not _is_like(_kind(leaf), kind):
                self._mismatch(f"{name} is {_kind(leaf) or 'no tensor'}, and the unsplit model's {kind or 'is none'}")
            elif leaf is not None:
                self._compare(name, leaf, file.get_tensor(f"{reference_item}.{index}"))

    def result(self, cast_error: CastError | None) -> OutputDifference:
        """All of it together."""
        is_finite = self.worst < float("inf")
        return OutputDifference(
            max_abs_diff=self.worst if is_finite else None,
            max_abs=self.largest,
            matches=self.matches and is_finite,
            what=self.what,
            not_finite=tuple(self.not_finite or ()),
            has_finite=self.num_finite > 0 or not self.not_finite,
            cast_error=cast_error,
        )

    def _mismatch(self, what: str) -> None:
        self.what = what if self.matches else self.what
        self.matches = False

    def _compare(self, name: str, leaf: torch.Tensor, stored: torch.Tensor) -> None:
        given, wanted = _stored(leaf), stored
        self.largest = max(self.largest, _max_abs(_finite(wanted)))
        if wanted.is_floating_point() and wanted.numel() and not bool(_wide(wanted).isfinite().any()):
            self.not_finite = {**(self.not_finite or {}), name.rpartition(" of item ")[0]: None}
        else:
            self.num_finite += wanted.numel()
        found = _furthest(given, wanted)
        if found > self.worst:
            self.worst = found
            if self.matches:
                self.what = f"{name}: {_told(given, wanted)}"


def _furthest(given: torch.Tensor, wanted: torch.Tensor) -> float:
    if given.is_floating_point() or wanted.is_floating_point():
        return difference(_wide(given), _wide(wanted))
    if torch.equal(given, wanted):
        return 0.0
    return max(1.0, _max_abs(_wide(given) - _wide(wanted)))  # whole numbers past 2**53 are not told apart as floats


def _told(given: torch.Tensor, wanted: torch.Tensor) -> str:
    """How many elements differ, where the first one and the furthest are, and what is there."""
    differ = ~_is_same(given, wanted)
    first = differ.nonzero()[0].tolist()
    off = (_wide(given) - _wide(wanted)).abs().nan_to_num(float("inf")) + differ  # large whole numbers look the same
    most = torch.stack(torch.unravel_index(off.argmax(), off.shape)).tolist() if off.dim() else []
    here, there = (_number(tensor[tuple(most)].item()) for tensor in (given, wanted))
    told = f"{int(differ.sum()):,} of {differ.numel():,} elements differ, the first at {first}, the most at {most}"
    return f"{told}: {here} and not {there}"


def _number(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_same(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (given == wanted) | (given.isnan() & wanted.isnan())


def _is_like(given: str | None, wanted: str | None) -> bool:
    """Whether two kinds can be compared: the same shape, and both real numbers, or both whole, or both truth values."""
    if given is None or wanted is None or given == wanted:
        return given == wanted
    (one, shape), (other, wanted_shape) = given.split(" of shape "), wanted.split(" of shape ")
    return shape == wanted_shape and "float" in one and "float" in other


def _kind(leaf: torch.Tensor | None) -> str | None:
    return None if leaf is None else f"{str(leaf.dtype).removeprefix('torch.')} of shape {list(leaf.shape)}"


def _stored(leaf: torch.Tensor) -> torch.Tensor:
    """As the file holds it: complex numbers as pairs, which a plain cast would halve."""
    plain = torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf
    return plain.contiguous()


def _wide(leaf: torch.Tensor) -> torch.Tensor:
    return _stored(leaf).double()


def _finite(leaf: torch.Tensor) -> torch.Tensor:
    wide = _wide(leaf)
    return wide[wide.isfinite()]


def _max_abs(tensor: torch.Tensor) -> float:
    """Largest magnitude; infinite where anything is not a number."""
    if tensor.numel() == 0:
        return 0.0
    value = float(tensor.abs().max())
    return value if value == value else float("inf")
