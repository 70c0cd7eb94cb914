"""Items put together along the batch dimension on their way in, and their outputs taken apart on the way out.

items        [a] [b] [c]                 one sample each, say
microbatch   [a | b | c | c]             padded to a bucket (1, 2, 4 ... B), so that few shapes are ever made
outputs      [A | B | C | .]  ->  [A] [B] [C]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from partkit.errors import MismatchError
from partkit.transport.item_form import ItemForm

BATCH = "batch"
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Part:
    """An item that is to go into a microbatch."""

    bound: Tensors
    sizes: Mapping[str, int]

    @property
    def batch(self) -> int:
        """Its samples, as counted along the batch dimension; 1 where that does not vary."""
        return self.sizes.get(BATCH, 1)


class Together:
    """Makes microbatches of at most ``most`` items of a form; with 1, each item is one and stays as it is."""

    def __init__(self, form: ItemForm, most: int) -> None:
        """Raises :class:`MismatchError` where the model's inputs or outputs have no batch that could be shared."""
        self.most, self._form = most, form
        if most == 1:
            self.buckets: tuple[int, ...] = ()
            """Samples that a microbatch is padded to."""
            return
        spec = form.model
        if BATCH not in spec.sizes:
            raise MismatchError(
                f"the plan asks for {most} items a microbatch, and the batch of {spec.source} is fixed in it",
                hint=f"plan again with --microbatch {most}",
            )
        self._largest = spec.sizes[BATCH]
        self.buckets = buckets_up_to(self._largest, least=spec.smallest_sizes[BATCH])
        self._inputs: dict[str, int] = {}
        for each in spec.inputs:
            place = each.place_of(BATCH)
            if place is None:
                raise MismatchError(
                    f"items of {spec.source} cannot share a batch: its input {each.name} has no batch, and may be "
                    "another for each item",
                    hint="plan again without --microbatch",
                )
            self._inputs[each.name] = place
        self._outputs = {name: self._dimension_of(name) for name in (value.name for value in form.outputs)}

    def fits(self, group: Sequence[Part], part: Part) -> bool:
        """Whether an item can join those of a microbatch: there is room, and its other sizes are theirs."""
        if not group:
            return True
        if self.is_full(group) or sum(each.batch for each in group) + part.batch > self._largest:
            return False
        first = group[0].sizes
        return all(size == first[label] for label, size in part.sizes.items() if label != BATCH)

    def is_full(self, group: Sequence[Part]) -> bool:
        """Whether nothing can join any more."""
        return self.most == 1 or len(group) >= self.most or sum(each.batch for each in group) >= self._largest

    def groups(self, parts: Iterator[Part]) -> Iterator[list[Part]]:
        """Items as they come in microbatches, as full as can be; a fault of the iterator comes behind those before."""
        group: list[Part] = []
        fault: Exception | None = None
        try:
            for part in parts:
                if not self.fits(group, part):
                    yield group
                    group = []
                group.append(part)
                if self.is_full(group):
                    yield group
                    group = []
        except Exception as error:  # noqa: BLE001 - of the user's own iterator, told behind what came before it
            fault = error
        if group:
            yield group
        if fault is not None:
            raise fault

    def joined(self, group: Sequence[Part]) -> tuple[Tensors, Mapping[str, int]]:
        """A microbatch and its sizes; up to the bucket's samples the last one is repeated."""
        if self.most == 1:
            return group[0].bound, group[0].sizes
        total = sum(part.batch for part in group)
        bucket = next(bucket for bucket in self.buckets if bucket >= total)
        if len(group) == 1 and bucket == total:
            return group[0].bound, group[0].sizes
        bound: dict[str, torch.Tensor] = {}
        for name, place in self._inputs.items():
            values = [part.bound[name] for part in group]
            last = values[-1].narrow(place, values[-1].shape[place] - 1, 1)
            bound[name] = torch.cat([*values, *[last] * (bucket - total)], dim=place)
        return bound, {**group[0].sizes, BATCH: bucket}

    def apart(self, tensors: Tensors, group: Sequence[Part]) -> list[Tensors]:
        """Each item's outputs: views of what the microbatch gave."""
        if self.most == 1:
            return [tensors]
        taken: list[Tensors] = []
        at = 0
        for part in group:
            taken.append({name: self._share(name, value, at, part.batch) for name, value in tensors.items()})
            at += part.batch
        return taken

    def _share(self, name: str, value: torch.Tensor, at: int, count: int) -> torch.Tensor:
        place, each = self._outputs[name]
        return value.narrow(place, at * each, count * each)

    def _dimension_of(self, name: str) -> tuple[int, int]:
        """The dimension of an output that grows with the batch, and its size for one sample."""
        largest, smallest = self._form.model.sizes, self._form.model.smallest_sizes
        shapes = [
            next(value.shape for value in self._form.outputs_of({**largest, BATCH: batch}) if value.name == name)
            for batch in (self._largest, smallest[BATCH])
        ]
        growing = [place for place, (one, other) in enumerate(zip(*shapes, strict=True)) if one != other]
        size = shapes[0][growing[0]] if growing else 0
        if len(growing) != 1 or size % self._largest or self._largest == smallest[BATCH]:
            told = self._form.output_names().get(name, name)
            raise MismatchError(
                f"items of {self._form.model.source} cannot share a batch: its output {told} of shape "
                f"{list(shapes[0])} has no dimension of one part for each sample",
                hint="plan again without --microbatch, or ask for other outputs",
            )
        return growing[0], size // self._largest


def buckets_up_to(largest: int, *, least: int = 1) -> tuple[int, ...]:
    """Powers of two from ``least`` on, and ``largest``.

    >>> buckets_up_to(12), buckets_up_to(8, least=3)
    ((1, 2, 4, 8, 12), (4, 8))
    """
    powers = [1 << exponent for exponent in range(largest.bit_length()) if least <= 1 << exponent < largest]
    return (*powers, largest)
