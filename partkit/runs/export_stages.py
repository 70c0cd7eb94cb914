"""A plan's stages as files that other programs run: one ExportedProgram or ONNX file each, and what goes where.

capture . cut by the plan . for each stage: weights in . write it with the values of one item . weights out
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx

from partkit.data.job import RunJob
from partkit.data.plan import Plan
from partkit.data.progress import Progress, silent
from partkit.data.writing import write_text_atomically
from partkit.errors import UnsupportedError
from partkit.models.of_job import capture_job_model, item_inputs, load_job_model, tensor_reader
from partkit.models.packages import import_package
from partkit.ranks.run_options import RunOptions, job_of
from partkit.stages.cut import Computed, StageGraph, cut_plan
from partkit.stages.windows import run_windows

MANIFEST = "stages.json"


def write_stages(
    plan: Plan, folder: Path, form: str, *, allow_code: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Write each stage of a plan into ``folder`` as ``stage0.pt2`` or ``stage0.onnx`` and so on, and a manifest.

    The manifest (``stages.json``, returned too) has ``stages`` in order, each with ``file``, ``inputs`` and
    ``outputs`` by name, and ``outputs``, the model's own flat outputs: a value's name, or a constant. A stage's inputs
    are the model's inputs, by its own names, and outputs of earlier stages. Shapes are the plan's. One stage's weights
    are in memory at a time. Raises :class:`UnsupportedError` for a plan of several sizes and where a stage cannot be
    written, :class:`MachineError` where the packages for ONNX are missing.
    """
    tell = progress or silent
    job: RunJob = job_of(plan, plan.executor, RunOptions(device="cpu", allow_code=allow_code))
    if plan.model.sizes:
        raise UnsupportedError(
            f"the plan serves several sizes ({', '.join(plan.model.sizes)}), and a file is of one",
            hint="plan without --dynamic",
        )
    write = _WRITERS[form]
    if form == "onnx":
        for package in ("onnx", "onnxscript"):
            import_package(package, install="pip install 'partkit[onnx]'")
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"Capturing {plan.model.source}", 0, 0)
    loaded = load_job_model(job)
    captured = capture_job_model(job, loaded)
    stages = cut_plan(captured, plan)
    told: list[dict[str, Any]] = []

    def visit(module: fx.GraphModule, inputs: list[torch.Tensor]) -> None:
        stage = stages[len(told)]
        tell("Writing stages", stage.index, len(stages))
        names, file = [value.name for value in stage.takes], f"stage{stage.index}.{form}"
        names[: len(stage.model_inputs)] = stage.model_inputs
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                write(module, [tensor.clone() for tensor in inputs], folder / file, names, stage)
        except Exception as error:
            (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
            raise UnsupportedError(f"stage {stage.index} cannot be written as {form}: {reason}") from error
        told.append({"file": file, "inputs": names, "outputs": list(stage.gives)})

    names = [each.name for each in captured.spec.inputs]
    item = dict(zip(names, item_inputs(job.fed, 0, 1, loaded), strict=True))
    run_windows(stages, captured, tensor_reader(loaded, captured), torch.device("cpu"), [item], visit=visit)
    (leaves,) = [stage.leaves for stage in stages if stage.leaves is not None]
    outputs = [leaf.name if isinstance(leaf, Computed) else {"constant": leaf} for leaf in leaves]
    manifest = {"model": plan.model.source, "stages": told, "outputs": outputs}
    write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=2, default=str) + "\n")
    return manifest


def _write_pt2(
    module: fx.GraphModule, inputs: Sequence[torch.Tensor], path: Path, _names: Sequence[str], _stage: StageGraph
) -> None:
    torch.export.save(torch.export.export(module, tuple(inputs)), path)


def _write_onnx(
    module: fx.GraphModule, inputs: Sequence[torch.Tensor], path: Path, names: Sequence[str], stage: StageGraph
) -> None:
    for noisy in ("onnxscript", "torch.onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own use of torch
        torch.onnx.export(
            module,
            tuple(inputs),
            path,
            input_names=list(names),
            output_names=list(stage.gives),
            dynamo=True,
            external_data=True,
            verbose=False,
        )


_Write = Callable[[fx.GraphModule, Sequence[torch.Tensor], Path, Sequence[str], StageGraph], None]
_WRITERS: dict[str, _Write] = {"pt2": _write_pt2, "onnx": _write_onnx}
