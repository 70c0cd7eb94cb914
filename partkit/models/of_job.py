"""A job's model for the executors that load it: its module or graph, its inputs and its tensors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from partkit.data.job import ModelJob
from partkit.data.model import ModelSpec
from partkit.errors import MismatchError
from partkit.models.capture import Capture, capture
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import load_model
from partkit.models.sources.loaded import LoadedModel


def load_job_model(job: ModelJob) -> LoadedModel:
    """The job's model, without weights."""
    return load_model(job.model, allow_code=job.allow_code)


def capture_job_model(job: ModelJob, loaded: LoadedModel) -> Capture:
    """The job's model as a graph. Raises :class:`MismatchError` when it is not the one that was planned."""
    captured = capture(loaded)
    planned, found = job.model.structure_sha256, captured.spec.structure_sha256
    if planned is not None and planned != found:
        raise MismatchError(
            f"the plan was made for another structure of {job.model.source} (planned {planned[:12]}, found "
            f"{str(found)[:12]}; torch {torch.__version__})",
            hint=f"re-plan with 'partkit plan {job.model.source}'",
        )
    return captured


def tensor_reader(loaded: LoadedModel, captured: Capture) -> Callable[[str], torch.Tensor]:
    """Reads parameters, buffers and constants of the captured graph by name, checked beforehand."""
    constants = {name: value for name, value in captured.values.items() if name in _constants(loaded, captured)}
    shapes = {name: info.shape for name, info in captured.tensors.items() if name not in constants}
    loaded.weights.check(shapes)
    return lambda name: constants[name] if name in constants else loaded.weights.read(name)


def runnable(module: Callable[..., Any], spec: ModelSpec) -> Callable[..., Any]:
    """A stage as it will run: through torch.compile where the model asks for it, for its one set of shapes."""
    return torch.compile(module, fullgraph=True, dynamic=False) if spec.compiled else module


def item_inputs(spec: ModelSpec, item: int, num_inputs: int, loaded: LoadedModel) -> list[torch.Tensor]:
    """The model's input tensors for an item, in order; inputs repeat after ``num_inputs`` items.

    Item 0 is the example that came with the model, where one did: it keeps what the model demands of its inputs. So
    are all items of a model that runs on nothing else. Where ``spec`` has smaller sizes, the example is cut to them.
    """
    number = item % num_inputs
    if spec.has_examples and (number == 0 or spec.examples_only is not None):
        leaves = pytree.tree_leaves((loaded.args, loaded.kwargs))
        examples = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return [_cut_to(each.shape, example) for each, example in zip(spec.inputs, examples, strict=True)]
    return list(synthetic_inputs(spec, number).values())


def _cut_to(shape: tuple[int, ...], example: torch.Tensor) -> torch.Tensor:
    return example.detach()[tuple(slice(size) for size in shape)].contiguous()


def _constants(loaded: LoadedModel, captured: Capture) -> set[str]:
    """Tensors that capture lifted out of the code, and buffers that no checkpoint holds."""
    persistent = set(loaded.module.state_dict()) if loaded.module is not None else set()
    return {name for name, info in captured.tensors.items() if not info.is_parameter and name not in persistent}
