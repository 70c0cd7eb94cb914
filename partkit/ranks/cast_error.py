"""A cast model's first outputs beside those of the model as its author wrote it: damage that every split shares."""

from __future__ import annotations

import torch

from partkit.data.model import ModelSpec
from partkit.data.replies import CastError
from partkit.executors.protocol import RankContext, flat_outputs
from partkit.machine.devices import host_memory_bytes
from partkit.models.fast_path import without_fast_path
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs
from partkit.models.sources import load_model
from partkit.models.sources.base import asked_dtype
from partkit.models.sources.casting import cast
from partkit.ranks.outputs import cast_error_of
from partkit.stages.cut import Leaves

_COARSE = ("bfloat16", "float16")
_ITEMS = 2


def uncast_spec(spec: ModelSpec) -> ModelSpec | None:
    """The model before ``--dtype`` cast it; None where nothing was cast, or to nothing coarser than float32."""
    is_own = spec.source.startswith(("py:", "hf:")) and asked_dtype(spec) is None
    if spec.dtype not in _COARSE or is_own or spec.source.startswith("pt2:"):
        return None
    options = {name: value for name, value in spec.options.items() if name != "dtype"}
    return spec.model_copy(update={"dtype": "float32", "options": options, "inputs": ()})


@torch.no_grad()
@without_fast_path()
def measure_cast_error(context: RankContext, outputs: dict[int, Leaves]) -> CastError | None:
    """How far the first of ``outputs`` are from the uncast model's; None where that is the same or does not fit."""
    job, device = context.job, context.device
    spec = uncast_spec(job.model)
    if spec is None:
        return None
    loaded = load_model(spec, allow_code=job.allow_code)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_memory_bytes()
    if 2 * loaded.weight_bytes > free:
        return None
    module = loaded.materialise(device)
    exact = []
    for item in range(min(_ITEMS, len(outputs))):
        tensors = item_inputs(job.fed, item, job.num_inputs, loaded)
        given = {
            own.name: cast(tensor, getattr(torch, own.dtype)).to(device)
            for own, tensor in zip(loaded.spec.inputs, tensors, strict=True)
        }
        args, kwargs = split_arguments(loaded, given)
        exact.append(flat_outputs(module(*args, **kwargs)))
    return cast_error_of([outputs[item] for item in range(len(exact))], exact)
