"""FSDP: weights divided over all devices, gathered layer by layer, each device with items of its own.

seconds = max(compute, gathering) + the first layer's gathering        where both overlap, else their sum
gathering = (devices - 1) / devices x bytes of the layers / rate
"""

from __future__ import annotations

from partkit.data.units import format_bytes, format_seconds
from partkit.planners.advice.situation import Estimate, Situation
from partkit.planners.advice.tensor_parallel import worst_link

_GROUP_S = {"cuda": 1.6e-3, "cpu": 3.4e-3}
"""What gathering a layer costs FSDP beside operations and bytes: BERT-base took 31.4 ms over 14 groups on two H100, and
8.07 ms without; bert-mini 60 ms over 5 groups on two CPU cores, 28 of them computing, 15 bytes (benchmarks/compare)."""


def sharded(situation: Situation) -> Estimate | str:
    """Each device computes whole items and receives all that it does not hold."""
    count = len(situation.cluster.devices)
    if count < 2:
        return "there is one device"
    link, layers = worst_link(situation), [name for name in situation.layers if name]
    sizes = [situation.layer_bytes(name) for name in layers]
    rest = max(0, situation.param_bytes - sum(sizes))
    groups = [size for size in (*sizes, rest) if size]
    gather_s = sum((count - 1) / count * size / link.bytes_per_s + (count - 1) * link.latency_s for size in groups)
    slowest = min(map(situation.speed, range(count)))
    compute_s = situation.eager_s(situation.seconds / slowest) * situation.slowed(count)
    host_s = _GROUP_S["cuda" if situation.is_cuda else "cpu"] * len(groups)
    overlaps = situation.cluster.overlap
    first_s = gather_s / max(1, len(groups))
    seconds = max(compute_s + host_s, gather_s) + first_s if overlaps else compute_s + host_s + gather_s
    peak = situation.whole_bytes - situation.param_bytes + situation.param_bytes // count + rest
    peak += 2 * max(sizes, default=0)
    peak = min(peak, situation.whole_bytes)
    return Estimate(
        executor="fsdp",
        devices=count,
        samples_per_s=count * situation.batch / seconds,
        latency_s=seconds,
        peak_bytes=peak,
        fits=all(situation.holds(index, peak) for index in range(count)),
        reason=f"each item {format_seconds(compute_s + host_s)} of computing and launching, and "
        f"{format_seconds(gather_s)} to gather {format_bytes(sum(groups))} of weights in {len(groups)} groups; "
        f"{format_bytes(peak)} a device",
    )
