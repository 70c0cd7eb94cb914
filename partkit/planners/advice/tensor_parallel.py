"""Tensor parallelism: each product of a layer divided over all devices, with two all-reduces a layer.

seconds = others + products / devices + 2 layers x all-reduce
all-reduce = 2 (devices - 1) / devices x bytes / rate + 2 (devices - 1) x latency        (ring)
"""

from __future__ import annotations

from partkit.data.cluster import Link
from partkit.data.units import format_bytes, format_seconds
from partkit.planners.advice.situation import Estimate, Situation, is_product

_PER_LAYER = 2
"""After attention and after the two linear layers (Megatron-LM, Shoeybi et al. 2019)."""
_COLLECTIVE_S = 30e-6
"""A small all-reduce of NCCL beside its bytes: start, end, and waiting for the slower side; assumed, as what makes of
BERT-base's published 3.26 ms over two H100 (benchmarks/compare) the compute that is left."""


def tensor_parallel(situation: Situation) -> Estimate | str:
    """Divided products and undivided rest, then the all-reduces, which nothing overlaps."""
    count = len(situation.cluster.devices)
    if count < 2:
        return "there is one device"
    if situation.num_layers == 0:
        return "the model has no numbered layers, whose products a tensor-parallel plan divides"
    layers = [nodes for name, nodes in situation.layers.items() if name]
    scale = situation.profile.calibration.scale
    divided_s = scale * sum(node.time_s for nodes in layers for node in nodes if is_product(node))
    slowest = min(map(situation.speed, range(count)))
    compute_s = (situation.seconds - divided_s + divided_s / count) / slowest * situation.slowed(count)
    each_s = all_reduce_s(worst_link(situation), count, _activation_bytes(situation))
    each_s += _COLLECTIVE_S if situation.is_cuda else 0.0
    seconds = compute_s + _PER_LAYER * situation.num_layers * each_s
    divided_bytes = sum(situation.layer_bytes(name) for name in situation.layers if name)
    peak = situation.whole_bytes - divided_bytes + divided_bytes // count
    return Estimate(
        executor="tp",
        devices=count,
        samples_per_s=situation.batch / seconds,
        latency_s=seconds,
        peak_bytes=peak,
        fits=all(situation.holds(index, peak) for index in range(count)),
        reason=f"{format_seconds(compute_s)} of computing with products divided by {count}, and "
        f"{_PER_LAYER * situation.num_layers} all-reduces of {format_seconds(each_s)}; {format_bytes(peak)} a device",
    )


def all_reduce_s(link: Link, count: int, num_bytes: int) -> float:
    """Seconds of a ring over ``count`` devices.

    >>> all_reduce_s(Link(bytes_per_s=1e9, latency_s=1e-5), 2, 1_000_000)
    0.00102
    """
    return 2 * (count - 1) * (num_bytes / count / link.bytes_per_s + link.latency_s)


def worst_link(situation: Situation) -> Link:
    """A ring is as fast as its slowest link; neighbours in the cluster's order are taken for the ring."""
    count = len(situation.cluster.devices)
    links = [situation.cluster.link_between(index, (index + 1) % count) for index in range(count)]
    return min(links, key=lambda link: link.bytes_per_s)


def _activation_bytes(situation: Situation) -> int:
    """Bytes of a layer's hidden state: the smallest result of its products that have weights."""
    sizes = [
        node.output_bytes
        for name, nodes in situation.layers.items()
        for node in nodes
        if name and is_product(node) and node.output_bytes and (node.parameters or node.param_bytes)
    ]
    return min(sizes, default=0)
