"""Whether a model runs on drawn inputs: some run on nothing but what its author's example keeps to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils import _pytree as pytree

from partkit.data.job import NUM_INPUTS
from partkit.data.model import ModelSpec
from partkit.machine.clock import settle
from partkit.machine.memory import free_bytes
from partkit.models.capture import Capture
from partkit.models.fast_path import without_fast_path
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs, tensor_reader
from partkit.models.sources.loaded import LoadedModel
from partkit.models.structures import leaf_paths
from partkit.stages.windows import make_windows, run_windows

_LONGEST = 160
"""Characters of a model's error that are told."""

_HAS_FAST_PATH = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)

Outputs = dict[str, torch.Tensor]


@torch.no_grad()
def with_fitting_inputs(loaded: LoadedModel, captured: Capture, device: torch.device) -> ModelSpec:
    """The captured model's spec, which says whether every item must be the example that came with the model.

    That is so where the unsplit model raises on a drawn item, or gives numbers for the example (item 0) and none for
    the drawn. It is decided once, when the model is profiled, so that all ranks of all its runs agree. On CUDA a drawn
    item may be the end of this process's context (a device assert): nothing that needs the device may follow.
    """
    spec = captured.spec.model_copy(update={"examples_only": None})
    if not spec.has_examples:
        return spec
    try:
        call = _caller(loaded, captured, device)
        expected = call(item_inputs(spec, 0, NUM_INPUTS, loaded))
    except Exception:  # noqa: BLE001 - whatever it is, drawn inputs are not to blame
        return spec
    for item in range(1, NUM_INPUTS):
        found = _fault(call, item_inputs(spec, item, NUM_INPUTS, loaded), expected)
        if found is not None:
            return spec.model_copy(update={"examples_only": found})
    return spec


def _fault(call: Callable[[list[torch.Tensor]], Outputs], tensors: list[torch.Tensor], expected: Outputs) -> str | None:
    """What the model does on a drawn item that it does not do on its example."""
    try:
        outputs = call(tensors)
    except (torch.OutOfMemoryError, MemoryError):
        return None
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        (text, *_) = str(error).strip().splitlines() or [""]
        return f"raises {type(error).__name__}: {text[:_LONGEST]}"
    for name, tensor in outputs.items():
        example = expected.get(name)
        if example is not None and _lacks_numbers(tensor) and not _lacks_numbers(example):
            return f"gives no number in {name}"
    return None


def _lacks_numbers(tensor: torch.Tensor) -> bool:
    """True where an element is no number, or none is finite."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
        return False
    wide = tensor.to(torch.float32) if tensor.is_floating_point() else tensor  # few operations know float8
    return bool(wide.isnan().any()) or not bool(wide.isfinite().any())


def _caller(loaded: LoadedModel, captured: Capture, device: torch.device) -> Callable[[list[torch.Tensor]], Outputs]:
    """Runs the unsplit model: its own module, and its graph in windows where the device does not hold that."""
    names = [each.name for each in captured.spec.inputs]
    free = free_bytes(device)
    if 2 * loaded.weight_bytes <= free:
        module = loaded.materialise(device)
        has_fast_path = any(isinstance(part, _HAS_FAST_PATH) for part in module.modules())

        def run(tensors: list[torch.Tensor]) -> Outputs:
            given = dict(zip(names, (tensor.to(device) for tensor in tensors), strict=True))
            args, kwargs = split_arguments(loaded, given)
            with without_fast_path():  # as outputs are checked
                outputs = _named_outputs(module(*args, **kwargs))
            if has_fast_path:  # as it is timed
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors", category=UserWarning)
                    fast = _named_outputs(module(*args, **kwargs))
                outputs |= {f"{name} by eager's fast path": tensor for name, tensor in fast.items()}
            settle(device)
            return outputs

        return run
    windows = make_windows(captured, free)

    def run_in_parts(tensors: list[torch.Tensor]) -> Outputs:
        given = [dict(zip(names, tensors, strict=True))]
        (leaves,) = run_windows(windows, captured, tensor_reader(loaded, captured), device, given)
        settle(device)
        return _named([str(place) for place in range(len(leaves))], leaves)

    return run_in_parts


def _named_outputs(outputs: object) -> Outputs:
    leaves, structure = pytree.tree_flatten(outputs)
    return _named(leaf_paths(structure), leaves)


def _named(paths: Sequence[str], leaves: Sequence[object]) -> Outputs:
    tensors = [(path, leaf) for path, leaf in zip(paths, leaves, strict=True) if isinstance(leaf, torch.Tensor)]
    return {"its output" if path == "output" else f"output {path!r}": leaf for path, leaf in tensors}
