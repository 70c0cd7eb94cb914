"""Do predicted stage times come true? Profiles models, plans two stages, times each stage alone on one device.

    python benchmarks/stage_times/main.py [--device cuda] [--only bert,gpt2]

One process and one device, so that it shows the profile and nothing else: no link, no second rank. On CUDA a
stage runs as a CUDA graph, as in the pipeline. Also checks the two stages in a row against the model as its author
wrote it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from partkit.data.builtin_clusters import load_cluster
from partkit.data.plan import Plan
from partkit.models.capture import Capture, capture
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs, runnable, tensor_reader
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.planners import PlanRequest, make_plan
from partkit.profilers.measured import whole_cpu_s, whole_cuda_s
from partkit.profilers.on_device import profile_on
from partkit.stages.cut import Computed, cut_plan
from partkit.stages.materialise import materialise

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "bert": ("bert", {}, {}),
    "bert TF32": ("bert", {}, {"tf32": True}),
    "bert bf16": ("bert", {"dtype": "bfloat16"}, {}),
    "bert batch 8": ("bert", {"batch": 8}, {}),
    "gpt2": ("gpt2", {}, {}),
    "vit": ("vit", {}, {}),
    "gpt2 bf16": ("gpt2", {"dtype": "bfloat16"}, {}),
    "vit bf16": ("vit", {"dtype": "bfloat16"}, {}),
    "bert compiled": ("bert", {}, {"compiled": True}),
    "bert bf16 compiled": ("bert", {"dtype": "bfloat16"}, {"compiled": True}),
}


@dataclass(frozen=True)
class Figures:
    """One case's row."""

    profile_s: float
    eager_s: float
    whole_s: float
    predicted_s: tuple[float, ...]
    measured_s: tuple[float, ...]
    max_abs_diff: float


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", help="cases, separated by commas")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    names = arguments.only.split(",") if arguments.only else list(CASES)
    print("| case | profile s | eager ms | whole ms | stage 0 predicted / measured ms | stage 1 | error | max diff |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        try:
            print(row(name, measure(name, device)), flush=True)
        except Exception as error:  # noqa: BLE001 - a benchmark goes on with the next case
            print(f"| {name} | {type(error).__name__}: {str(error).splitlines()[0][:200]} |", flush=True)


def row(name: str, seen: Figures) -> str:
    """A line of the table."""
    pairs = list(zip(seen.predicted_s, seen.measured_s, strict=True))
    stages = [f"{predicted * 1e3:.3f} / {measured * 1e3:.3f}" for predicted, measured in pairs]
    errors = " ".join(f"{100 * (predicted / measured - 1):+.1f}%" for predicted, measured in pairs)
    figures = [f"{seen.profile_s:.1f}", f"{seen.eager_s * 1e3:.3f}", f"{seen.whole_s * 1e3:.3f}", *stages, errors]
    return f"| {name} | " + " | ".join(figures) + f" | {seen.max_abs_diff:.2g} |"


def measure(name: str, device: torch.device) -> Figures:
    """Profile, plan and time one case."""
    source, building, mode = CASES[name]
    spec = parse_model(source, **building).model_copy(update=mode)
    torch.set_float32_matmul_precision("high" if spec.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = spec.tf32
    loaded = load_model(spec)
    captured = capture(loaded)
    begin = time.perf_counter()
    profile, _ = profile_on(device, loaded, captured, threads=torch.get_num_threads())
    profile_s = time.perf_counter() - begin
    cluster = load_cluster("2x-nvlink")
    one, two = (make_plan(profile, cluster, PlanRequest(num_stages=n, exact_num_stages=True)) for n in (1, 2))
    whole_s, leaves = run_stages(one, loaded, captured, device)
    stage_s, split_leaves = run_stages(two, loaded, captured, device)
    eager_s, reference = run_eager(loaded, device)
    differences = [
        float((a.double() - b.double()).abs().max())
        for given in (leaves, split_leaves)
        for a, b in zip(given, reference, strict=True)
    ]
    return Figures(
        profile_s, eager_s, sum(whole_s), tuple(stage.compute_s for stage in two.stages), stage_s, max(differences)
    )


def run_stages(
    plan: Plan, loaded: LoadedModel, captured: Capture, device: torch.device
) -> tuple[tuple[float, ...], list[torch.Tensor]]:
    """Seconds of each stage alone, and the model's tensors out of all stages in a row."""
    read = tensor_reader(loaded, captured)
    names = [each.name for each in loaded.spec.inputs]
    values: dict[str, torch.Tensor] = dict(zip(names, on_device(loaded, device), strict=True))
    seconds, leaves = [], []
    for stage in cut_plan(captured, plan):
        module = runnable(materialise(stage, captured, read, device), loaded.spec)
        inputs = [values[take.name] for take in stage.takes]
        with torch.inference_mode():
            given = dict(zip(stage.gives, module(*inputs), strict=True))
        values |= given
        leaves += [given[leaf.name] for leaf in stage.leaves or () if isinstance(leaf, Computed)]
        seconds.append(whole_cuda_s(module, inputs) if device.type == "cuda" else whole_cpu_s(module, inputs))
    return tuple(seconds), leaves


def run_eager(loaded: LoadedModel, device: torch.device) -> tuple[float, list[torch.Tensor]]:
    """Seconds of the author's module as it is, and its tensors."""
    module = loaded.materialise(device)
    names = [each.name for each in loaded.spec.inputs]
    args, kwargs = split_arguments(loaded, dict(zip(names, on_device(loaded, device), strict=True)))
    with torch.inference_mode():
        leaves = [leaf for leaf in pytree.tree_leaves(module(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]
        samples = []
        for _ in range(20):
            begin = time.perf_counter()
            module(*args, **kwargs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            samples.append(time.perf_counter() - begin)
    return sorted(samples)[len(samples) // 2], leaves


def on_device(loaded: LoadedModel, device: torch.device) -> list[torch.Tensor]:
    """Inputs of item 0."""
    return [tensor.to(device) for tensor in item_inputs(loaded.spec, 0, 1, loaded)]


if __name__ == "__main__":
    main()
