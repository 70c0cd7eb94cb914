"""Settings that count layers: how many of the model's one list of repeated layers each stage has."""

from __future__ import annotations

import itertools

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.units import format_seconds
from partkit.errors import UnsupportedError
from partkit.reports.exports.modules import ModuleStages
from partkit.reports.exports.setting import Setting


def vllm(plan: Plan, profile: Profile) -> Setting:
    """``VLLM_PP_LAYER_PARTITION``, which vLLM reads beside ``--pipeline-parallel-size``."""
    counts, _, notes = _counts(plan, profile, "vLLM")
    text = f"VLLM_PP_LAYER_PARTITION={','.join(map(str, counts))}\n"
    return Setting(text, counts, (*notes, f"with --pipeline-parallel-size {len(counts)}"))


def llama_cpp(plan: Plan, profile: Profile) -> Setting:
    """``-ts`` of llama.cpp with ``-sm layer``: shares of its layers and, as one more, its output.

    llama.cpp gives layer i of n to the first device whose cumulated share exceeds i / (n + 1)
    (``llama_model::load_tensors``), so that whole numbers say exactly what is meant.
    """
    counts, _, notes = _counts(plan, profile, "llama.cpp")
    shares = [*counts[:-1], counts[-1] + 1]
    text = f"-sm layer -ts {','.join(map(str, shares))}\n"
    told = "the last share counts the output as one layer; holds where all layers are offloaded (-ngl 999)"
    return Setting(text, shares, (*notes, told))


def deepspeed(plan: Plan, profile: Profile) -> Setting:
    """``parts`` of a ``PipelineModule``: where each stage's layers begin, and the number of all."""
    counts, layers, notes = _counts(plan, profile, "DeepSpeed's PipelineModule")
    parts = [0, *itertools.accumulate(counts)]
    told = (
        f"parts of the list {layers}: what stands before it in your layer list moves all but the first up",
        "DeepSpeed takes no parts as an option: set self.parts to them in a subclass's _partition_layers",
    )
    return Setting(f"parts = {parts}\n", parts, (*notes, *told))


def transformers(plan: Plan, profile: Profile) -> Setting:
    """``DistributedConfig(pp_size=N)``, where the plan is what it makes: equal numbers, the rest with the last.

    ``transformers.distributed.pipeline_parallel`` (5.23) takes no other layout.
    """
    counts, _, notes = _counts(plan, profile, "transformers")
    each = sum(counts) // len(counts)
    made = [*[each] * (len(counts) - 1), sum(counts) - each * (len(counts) - 1)]
    if counts != made:
        told, own = ("+".join(map(str, numbers)) for numbers in (counts, made))
        raise UnsupportedError(
            f"the plan has {told} layers, and transformers' pp_size={len(counts)} makes {own} and no other",
            hint="export it --to torch or --to accelerate",
        )
    text = f"DistributedConfig(pp_size={len(counts)})\n"
    return Setting(text, {"pp_size": len(counts)}, tuple(notes))


def _counts(plan: Plan, profile: Profile, tool: str) -> tuple[list[int], str, list[str]]:
    """Layers of each stage, the list's path, and what the tool puts elsewhere than the plan does."""
    modules = ModuleStages(plan, profile, tool)
    layers = modules.layers()
    stages = list(layers.values())
    counts = [stages.count(stage.index) for stage in plan.stages]
    name = next(iter(layers)).rpartition(".")[0]
    if stages != sorted(stages):
        raise UnsupportedError(f"the layers of {name} do not stand in the order of stages, and {tool} keeps that order")
    if 0 in counts:
        raise UnsupportedError(
            f"stage {counts.index(0)} has no layer of {name}, and {tool} gives each stage some",
            hint=f"plan with --granularity layer --pin '{_to_pin(list(layers), counts)}', or for fewer stages",
        )
    moved = modules.elsewhere(layers)
    seconds = sum(node.time_s for node in moved)
    notes = [
        f"{tool} has what comes before the layers on the first stage and what comes after them on the last; the plan "
        f"has {len(moved)} operations ({format_seconds(seconds)}) of it elsewhere"
    ]
    return counts, name, notes if moved else []


def _to_pin(layers: list[str], counts: list[int]) -> str:
    """A pin that gives the first stage without a layer one: the nearest end of the list."""
    empty = counts.index(0)
    return f"{layers[0]}=0" if empty == 0 else f"{layers[min(sum(counts[: empty + 1]), len(layers)) - 1]}={empty}"
