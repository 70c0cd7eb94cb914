"""The reference experiment from an analytic profile and its machine's cluster file, beside what it measured.

    PYTHONPATH=.:cli python benchmarks/prediction/reference.py [--gpu a10] [--launch 30e-6] [-o reference.md]

BERT-base on four GPUs without peer access, PCI Express 1 x16 (cluster ``4x-pcie-gen1``). Each of its four ways launches
operation by operation, so the host's seconds per launch count beside the GPU's; neither the GPU nor the host is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partkit import profile_model
from partkit.data.builtin_clusters import builtin_cluster
from partkit.data.profile import Node, Profile
from partkit.planners.advice.situation import LAUNCH_S, Situation, num_calls
from partkit.planners.advice.tensor_parallel import all_reduce_s

CLUSTER = "4x-pcie-gen1"
HAND_CUT = (range(3), range(3, 7), range(7, 11), range(11, 12))
"""Layers of each stage as they were cut by hand; the embeddings are in the first, the head in the last."""
MEASURED = {"pipeline cut by hand": 244.76, "DeepSpeed TP": 175.73, "FSDP": 137.80, "dispatch": 29.34}
SECOND_HALF = 408.70
"""Of the pipeline, once it was warm."""
INJECTED_LAUNCHES = 10
"""Kernels of a layer after DeepSpeed's kernel injection, which fuses biases, softmax and residuals (its
``ops/transformer/inference``): two norms, four products, attention's two products and softmax, and an activation."""
SENDING_CALLS = 12
"""Calls of an item's hand-written transfer: shape and value received and sent, each several calls of c10d."""
WRAPPED_S = 0.65e-3
"""What FSDP1 adds for each unit (benchmarks/compare: 17.1 ms over 14 units, 8.07 without); the whole model is one."""
DISPATCHED = 4.8
"""Times as long as the eager model under a dispatch mode (benchmarks/compare, one GPU: 39.8 and 8.29 ms)."""


@dataclass(frozen=True)
class Replay:
    """One way's rate, and what holds it back."""

    way: str
    samples_per_s: float
    held_by: str


def replay(gpu: str = "a10", launch_s: float = LAUNCH_S, profile: Profile | None = None) -> list[Replay]:
    """The four ways, fastest first."""
    situation = Situation(profile or profile_model("bert", analytic=gpu), builtin_cluster(CLUSTER))
    ways = (_pipeline, _tensor_parallel, _fsdp, _dispatch)
    return sorted((way(situation, launch_s) for way in ways), key=lambda each: -each.samples_per_s)


def _pipeline(situation: Situation, launch_s: float) -> Replay:
    """The slowest stage: its launches or its kernels, then its transfers, which the hand-written loop waits for."""
    hidden = max(node.output_bytes for node in situation.profile.nodes if node.module.endswith("layer.0.output"))
    transfer_s = situation.cluster.link.transfer_s(hidden)
    seconds = []
    for stage, layers in enumerate(HAND_CUT):
        nodes = [node for node in situation.profile.nodes if _stage_of(node) == stage]
        device_s = sum(node.time_s for node in nodes)
        host_s = (num_calls(nodes) + SENDING_CALLS) * launch_s
        seconds.append((max(device_s, host_s) + transfer_s, stage, len(layers)))
    slowest, stage, count = max(seconds)
    return Replay("pipeline cut by hand", 1 / slowest, f"launches of stage {stage}, {count} layers")


def _stage_of(node: Node) -> int:
    parts = node.module.split(".")
    number = next((int(part) for part in parts if part.isdecimal()), None)
    if number is not None:
        return next(stage for stage, layers in enumerate(HAND_CUT) if number in layers)
    return 0 if "embeddings" in node.module else len(HAND_CUT) - 1


def _tensor_parallel(situation: Situation, launch_s: float) -> Replay:
    """Eight streams overlap items, so that the slowest of host, kernels and all-reduces counts."""
    count = len(situation.cluster.devices)
    hidden = max(node.output_bytes for node in situation.profile.nodes if node.module.endswith("layer.0.output"))
    reduce_s = 2 * situation.num_layers * all_reduce_s(situation.cluster.link, count, hidden)
    host_s = (INJECTED_LAUNCHES * situation.num_layers + num_calls(situation.layers[""])) * launch_s
    device_s = situation.seconds / count
    seconds = max(reduce_s, host_s, device_s)
    held_by = {reduce_s: "all-reduces over PCI Express", host_s: "launches", device_s: "kernels"}[seconds]
    return Replay("DeepSpeed TP", 1 / seconds, held_by)


def _fsdp(situation: Situation, launch_s: float) -> Replay:
    """One unit, gathered once and kept: each rank runs items of its own, and its own count is what was published."""
    host_s = num_calls(situation.profile.nodes) * launch_s + WRAPPED_S
    seconds = max(host_s, situation.seconds)
    return Replay("FSDP", 1 / seconds, "launches" if seconds == host_s else "kernels")


def _dispatch(situation: Situation, launch_s: float) -> Replay:
    """One process looks at every operand of every operation in Python."""
    seconds = DISPATCHED * num_calls(situation.profile.nodes) * launch_s
    return Replay("dispatch", 1 / seconds, "Python's look at each operation")


def table(gpu: str, launch_s: float, found: Sequence[Replay]) -> str:
    """Predicted beside measured, and whether the order is right."""
    lines = [
        f"{CLUSTER}, analytic profile of {gpu}, {launch_s * 1e6:.0f} us a launch:",
        "",
        "| way | predicted samples/s | measured | off by | held back by |",
        "|---|---:|---:|---:|---|",
    ]
    for each in found:
        measured = MEASURED[each.way]
        off = each.samples_per_s / measured - 1
        lines.append(f"| {each.way} | {each.samples_per_s:.1f} | {measured} | {off:+.0%} | {each.held_by} |")
    is_right = [each.way for each in found] == sorted(MEASURED, key=lambda way: -MEASURED[way])
    lines += ["", f"order: {'right' if is_right else 'WRONG'}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="a10,l4,a100,h100,v100,t4", help="of published figures, by commas")
    parser.add_argument(
        "--launch", default="10e-6,20e-6,30e-6", help="seconds that the host takes to launch, by commas"
    )
    parser.add_argument("-o", dest="out", type=Path, default=None)
    options = parser.parse_args()
    text = ""
    for gpu in options.gpu.split(","):
        profile = profile_model("bert", analytic=gpu)
        for launch_s in map(float, options.launch.split(",")):
            text += table(gpu, launch_s, replay(gpu, launch_s, profile)) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
