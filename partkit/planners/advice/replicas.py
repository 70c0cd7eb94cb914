"""Replicas: the whole model on every device that holds it, each with items of its own."""

from __future__ import annotations

from partkit.data.units import format_bytes, format_seconds
from partkit.planners.advice.situation import Estimate, Situation


def replicas(situation: Situation) -> Estimate | str:
    """Rates add up, no further than the cores that CPU devices share."""
    devices = range(len(situation.cluster.devices))
    if len(devices) < 2:
        return "there is one device"
    fits = all(situation.holds(index, situation.whole_bytes) for index in devices)
    slowed = situation.slowed(len(devices))
    rate = sum(situation.speed(index) for index in devices) * situation.batch / situation.seconds / slowed
    slowest = situation.seconds / min(map(situation.speed, devices))
    shared = "" if slowed == 1 else f", {slowed:.2g} times longer where all compute on the cores that they share"
    return Estimate(
        executor="replicas",
        devices=len(devices),
        samples_per_s=rate,
        latency_s=slowest,
        peak_bytes=situation.whole_bytes,
        fits=fits,
        reason=f"{len(devices)} devices take items of their own, {format_seconds(slowest)} each{shared}; each holds "
        f"the whole model, {format_bytes(situation.whole_bytes)}",
    )
