"""Whether samples that share a batch influence each other: each sample's outputs alone and in every bucket.

The same items make the stages' forms and CUDA graphs for each bucket in each slot, so that no item of the user's waits
for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from partkit.data.job import NUM_INPUTS, RunJob
from partkit.data.model import ModelSpec
from partkit.data.places import places
from partkit.errors import MismatchError
from partkit.models.of_job import item_inputs
from partkit.models.sources.loaded import LoadedModel
from partkit.ranks.outputs import difference
from partkit.runs.check import tolerance_of
from partkit.runs.together import BATCH, Part, Tensors
from partkit.transport.item_form import ItemForm

_DRAWN_ITEM = 1
"""Of the synthetic items: the first may be an example of the model's own, with samples that are alike."""

Through = Callable[[Iterable[Sequence[Part]]], Iterator[Sequence[Tensors]]]
"""Takes microbatches through the pipeline: each item's outputs of each, which stay until the next is asked for."""


def require_independent_samples(
    through: Through, buckets: Sequence[int], form: ItemForm, job: RunJob, loaded: LoadedModel
) -> None:
    """Raise :class:`MismatchError` where a sample's output depends on those that it shares a batch with.

    "Depends" is more than the dtype's tolerance, as when outputs are compared with the unsplit model's: kernels for
    another batch may round otherwise.
    """
    parts = _samples(form.model, loaded)
    alone = [_kept(outputs) for (outputs,) in through([part] for part in parts)]
    rounds = job.num_slots * math.lcm(*(place.num_replicas for place in places(job.plan, job.host_by_place)))
    for bucket in buckets:
        group = parts[: max(1, bucket // parts[0].batch)]
        for taken in through([group] * rounds):
            for number, outputs in enumerate(taken):
                _require_same(form, alone[number], outputs, number, len(group))


def _samples(spec: ModelSpec, loaded: LoadedModel) -> list[Part]:
    """As many different samples as fill the largest batch, each in the smallest item that there may be."""
    inputs = zip(spec.inputs, item_inputs(spec, _DRAWN_ITEM, NUM_INPUTS, loaded), strict=True)
    full = {each.name: (tensor, each.place_of(BATCH)) for each, tensor in inputs}
    least, largest = spec.smallest_sizes[BATCH], spec.sizes[BATCH]
    sizes = {**spec.sizes, BATCH: least}
    return [
        Part({name: tensor.narrow(place or 0, at, least) for name, (tensor, place) in full.items()}, sizes)
        for at in range(0, largest - largest % least, least)
    ]


def _kept(outputs: Tensors) -> dict[str, torch.Tensor]:
    wide = {name: torch.complex128 if value.is_complex() else torch.float64 for name, value in outputs.items()}
    return {name: value.to(wide[name], copy=True) for name, value in outputs.items()}


def _require_same(form: ItemForm, alone: Tensors, shared: Tensors, number: int, count: int) -> None:
    """Compare a sample's outputs in a batch of ``count`` with those that it has alone."""
    for name, value in _kept(shared).items():
        found = difference(value, alone[name])
        largest = float(alone[name].abs().nan_to_num(0.0, 0.0, 0.0).max()) if value.numel() else 0.0
        allowed = tolerance_of(form.model) * max(1.0, largest)
        if not found <= allowed:
            raise MismatchError(
                f"samples of {form.model.source} that share a batch influence each other: output"
                f"{_named(form, name)} of sample {number} differs by {found:.2g} in a batch of {count} from what it is "
                f"alone, and {allowed:.2g} is allowed",
                hint="plan again without --microbatch",
            )


def _named(form: ItemForm, value: str) -> str:
    """An output's name, where the model has several."""
    names = form.output_names()
    return f" {names[value]}" if len(names) > 1 else ""
