"""One device: the whole model on the fastest that holds it."""

from __future__ import annotations

from partkit.data.units import format_bytes, format_seconds
from partkit.planners.advice.situation import Estimate, Situation


def one_device(situation: Situation) -> Estimate:
    """An item takes the sum of its nodes, calibrated, over the device's speed."""
    every = range(len(situation.cluster.devices))
    able = [index for index in every if situation.holds(index, situation.whole_bytes)]
    index = max(able or every, key=situation.speed)
    seconds = situation.seconds / situation.speed(index)
    needs = f"needs {format_bytes(situation.whole_bytes)}"
    where = f"on {situation.cluster.devices[index].name}, and {needs}" if able else f"and no device has what it {needs}"
    return Estimate(
        executor="single-graph",
        devices=1,
        samples_per_s=situation.batch / seconds,
        latency_s=seconds,
        peak_bytes=situation.whole_bytes,
        fits=bool(able),
        reason=f"an item takes {format_seconds(seconds)} {where}",
    )
