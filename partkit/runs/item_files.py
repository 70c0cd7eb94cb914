"""Items in safetensors files: tensors named as the model's inputs and outputs, with items as the first dimension.

data.safetensors    input_ids [N, 1, 128]            item i is input_ids[i], the shape that the plan is for
out.safetensors     logits    [N, 1, 128, 21128]     output i, under its path in what the model returns
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from partkit.data.plan import Plan
from partkit.data.progress import Progress, silent
from partkit.data.result import Check, Latency, RunResult
from partkit.data.writing import naming, replacing
from partkit.errors import UsageError
from partkit.machine.environment import describe_environment
from partkit.models.checkpoint import TORCH_NAME_BY_DTYPE
from partkit.ranks.run_options import RunOptions
from partkit.runs.item_shapes import ItemShapes, item_shapes, require_outputs
from partkit.runs.open_pipeline import Pipeline, open_pipeline
from partkit.runs.statistics import percentile
from partkit.transport.item_form import ItemForm

_TELL_EVERY_S = 0.05
"""Between two tellings of progress: to draw each of thousands of items a second would hold them up."""

_STORED_NAME = {name: stored for stored, name in TORCH_NAME_BY_DTYPE.items()}


def run_file(
    plan: Plan,
    inputs: Path,
    outputs: Path,
    options: RunOptions,
    progress: Progress | None = None,
    *,
    restarts: int = 0,
    replan: bool = False,
) -> RunResult:
    """Run a plan on the items of one file, write the outputs to another, and tell how fast that went.

    Of ``options`` count the devices, threads, sizes, consent and time-out. Nothing is compared with the unsplit model.
    ``restarts`` and ``replan`` are those of :func:`open_pipeline`; each restart is among the result's warnings.
    """
    (progress or silent)("Loading stages", 0, 0)
    with open_pipeline(
        plan,
        device=options.device,
        threads=options.threads,
        devices=options.devices,
        allow_code=options.allow_code,
        timeout_s=options.timeout_s,
        restarts=restarts,
        replan=replan,
    ) as pipeline:
        seen = map_file(pipeline, inputs, outputs, progress, sizes=options.sizes)
    return _result(plan, inputs, seen, pipeline.restarted)


def _result(plan: Plan, inputs: Path, seen: Mapped, restarted: tuple[str, ...]) -> RunResult:
    batch, count = seen.shapes.batch, seen.shapes.count
    if count == 0:
        rate = steady = 0.0
        waits = [0.0]
    else:
        waits = [end - begin for begin, end in zip(seen.entered_at, seen.finished_at, strict=True)]
        rate = count * batch / (seen.finished_at[-1] - seen.entered_at[0])
        filled = seen.finished_at[count // 5 :]
        steady = (len(filled) - 1) * batch / (filled[-1] - filled[0]) if len(filled) > 1 else rate
    return RunResult(
        executor="pipeline",
        samples_per_s=rate,
        steady_samples_per_s=steady,
        latency_s=Latency(p50=percentile(waits, 0.5), p95=percentile(waits, 0.95)),
        items=count,
        batch=batch,
        microbatch=plan.microbatch,
        check=Check(max_abs_diff=None, tolerance=0.0, passed=None),
        source=str(inputs),
        environment=describe_environment(),
        warnings=("items were in flight together: latency_s counts their waits for each other", *restarted),
    )


@dataclass(frozen=True)
class Mapped:
    """What was seen of the items on their way."""

    shapes: ItemShapes
    entered_at: list[float]
    """When each item was taken from the file, in seconds of a clock of its own."""
    finished_at: list[float]
    """When its output was there."""


def map_file(
    pipeline: Pipeline,
    inputs: Path,
    outputs: Path,
    progress: Progress | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
) -> Mapped:
    """Take every item of one file through a pipeline and write the outputs to another.

    Items are read and written one by one, so neither file must fit into memory. ``outputs`` appears whole or not
    at all. ``sizes`` are the items' where they are said to be known. Raises :class:`FormatError` for a file that holds
    other tensors than the model's inputs.
    """
    form, tell = pipeline.form, progress or silent
    require_outputs(inputs, outputs)
    shapes = item_shapes(inputs, form.model, sizes or {})
    seen, told_at = Mapped(shapes, [], []), 0.0
    tell("Running items", 0, shapes.count)
    with _OutputFile.create(outputs, form, shapes) as file:
        items = _entering(_items(inputs, form, shapes.count), seen.entered_at)
        for done, result in enumerate(pipeline.map_flat(items), start=1):
            seen.finished_at.append(time.perf_counter())
            file.write(done - 1, result)
            if seen.finished_at[-1] - told_at > _TELL_EVERY_S or done == shapes.count:
                told_at = seen.finished_at[-1]
                tell("Running items", done, shapes.count)
    return seen


def _entering(items: Iterator[dict[str, torch.Tensor]], entered_at: list[float]) -> Iterator[dict[str, torch.Tensor]]:
    for item in items:
        entered_at.append(time.perf_counter())
        yield item


def _items(path: Path, form: ItemForm, count: int) -> Iterator[dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        slices = {spec.name: file.get_slice(spec.name) for spec in form.specs}
        for item in range(count):
            yield {name: each[item] for name, each in slices.items()}


class _OutputFile:
    """A safetensors file with room for all outputs, filled item by item."""

    def __init__(self, file: BinaryIO, form: ItemForm, shapes: ItemShapes) -> None:
        self._file, self._form, count = file, form, shapes.count
        self._outputs = form.outputs_of(shapes.sizes)
        names, header, end = form.output_names(), dict[str, Any](), 0
        self._starts: dict[str, int] = {}
        for value in self._outputs:
            dtype = str(value.dtype).removeprefix("torch.")
            if dtype not in _STORED_NAME:
                raise UsageError(f"output {names[value.name]!r} is {dtype}, which safetensors files cannot hold")
            begin, end = end, end + count * value.num_bytes
            self._starts[value.name] = begin
            shape = [count, *value.shape]
            header[names[value.name]] = {"dtype": _STORED_NAME[dtype], "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._data_start = 8 + len(text)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(self._data_start + end)

    @classmethod
    @contextmanager
    def create(cls, path: Path, form: ItemForm, shapes: ItemShapes) -> Iterator[_OutputFile]:
        """A file that appears at ``path``, or at what it links to, at the end, unless something is raised."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path), replacing(path.resolve()) as file:
            yield cls(file, form, shapes)

    def write(self, item: int, result: list[Any]) -> None:
        """Put one item's flat outputs in their place."""
        leaves = self._form.by_value(result)
        for value in self._outputs:
            data = leaves[value.name].contiguous().reshape(math.prod(value.shape)).view(torch.uint8)
            self._file.seek(self._data_start + self._starts[value.name] + item * value.num_bytes)
            self._file.write(data.numpy().data)
