"""Time operations of many sizes on this machine's device, so that analytic times of its kind come true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from partkit.data.device_calibration import CalibrationPoint, DeviceCalibration
from partkit.data.gauges import Gauge
from partkit.data.job import DeviceType, ProfileJob
from partkit.data.orders import CaptureModel, ProfileModel, TimeGauges
from partkit.data.profile import Profile
from partkit.data.progress import Progress, silent
from partkit.errors import MachineError
from partkit.machine.devices import resolve_device
from partkit.machine.environment import cpu_name, describe_environment
from partkit.machine.nvml import driver
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.profilers.analytic import Kernel, analytic_times, kernel_of
from partkit.profilers.calibration_grid import family_of, gauges_for
from partkit.profilers.nominal import NOMINAL, calibration_path, nominal_device, short_name_of
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import own_folder

_DTYPES = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "bfloat16", "float16")}
_ANCHOR = {"cpu": "bert-mini", "cuda": "bert"}
"""A model that is profiled whole: what operations take in it over what they take alone holds for others too."""
_MOST_CPU_FLOP = 3e9
"""A larger operation on one core takes longer than all others together."""
_AT_ONCE = 6
"""Gauges of an order: they share half a second."""


def calibrate(
    *, device: str = "auto", threads: int | None = None, progress: Progress | None = None
) -> DeviceCalibration:
    """Measure this machine's first device and keep the calibration for ``--analytic``; takes a minute or two.

    Raises :class:`MachineError` for a GPU without published figures, whose names it lists.
    """
    tell, kind = progress or silent, resolve_device(device)
    if kind == "cuda":
        for gpu in driver().gpus[:1]:
            require_figures(kind, gpu.name)  # before two minutes of work
    candidates = [(gauge, kernel) for gauge in gauges_for(kind, _DTYPES[kind]) if (kernel := _timed(gauge, kind))]
    seconds: list[float | None] = []
    anchors: list[Profile] = []
    for dtype in _DTYPES[kind]:
        spec = parse_model(_ANCHOR[kind], dtype=dtype)
        job = ProfileJob(model=spec, device=kind, threads=threads or 1)
        with RankGroup(job) as group, own_folder() as folder:
            while not anchors and len(seconds) < len(candidates):
                tell("Timing operations", len(seconds), len(candidates))
                chunk = candidates[len(seconds) : len(seconds) + _AT_ONCE]
                (reply,) = group.call(TimeGauges(gauges=tuple(gauge for gauge, _ in chunk)))
                seconds += reply.seconds
            tell("Timing operations", len(candidates), len(candidates))
            tell(f"Profiling {_ANCHOR[kind]} in {dtype}", 0, 0)
            group.call(CaptureModel())
            path = folder / "profile.json"
            group.call(ProfileModel(path=str(path), progress=str(folder / "progress")))
            anchors.append(Profile.load(path))
    found = calibration_of([kernel for _, kernel in candidates], seconds, anchors, kind, threads or 1)
    found.save(calibration_path(found.nominal))
    return found


def calibration_of(
    kernels: Sequence[Kernel],
    seconds: Sequence[float | None],
    anchors: Sequence[Profile],
    kind: DeviceType,
    threads: int,
) -> DeviceCalibration:
    """Points of what was timed, and how much longer the anchors, a dtype each, took than their operations alone."""
    name = anchors[0].device.name if kind == "cuda" else cpu_name()
    nominal = require_figures(kind, name)
    device = nominal_device(nominal)
    points = tuple(
        CalibrationPoint(
            family=family_of(kernel.operation),
            operation=kernel.operation,
            dtype=kernel.dtype,
            flop=kernel.flop,
            moved_bytes=kernel.moved_bytes,
            seconds=measured_s,
            nominal_s=device.kernel_time_s(kernel.flop, kernel.moved_bytes, kernel.dtype),
        )
        for kernel, measured_s in zip(kernels, seconds, strict=True)
        if measured_s
    )
    found = DeviceCalibration(
        nominal=nominal,
        device=name,
        threads=threads if kind == "cpu" else None,
        points=points,
        anchor=anchors[0].model.source,
        provenance={"measured": datetime.now(UTC).isoformat(timespec="seconds"), **describe_environment()},
    )
    in_model = {}
    for anchor in anchors:
        alone_s = sum(analytic_times(capture(load_model(anchor.model)), device, found).values())
        in_model[str(anchor.model.dtype)] = (
            anchor.calibration.scale * sum(node.time_s for node in anchor.nodes) / alone_s
        )
    return found.model_copy(update={"in_model": in_model})


def require_figures(kind: DeviceType, name: str) -> str:
    """The short name of a device's published figures. Raises :class:`MachineError` where there are none."""
    nominal = short_name_of(kind, name)
    if nominal is None:
        raise MachineError(
            f"no published figures are known of {name}, which a calibration corrects",
            hint=f"they are known of {', '.join(NOMINAL)}",
        )
    return nominal


def _timed(gauge: Gauge, kind: DeviceType) -> Kernel | None:
    """The gauge's kernel, if it is one and small enough."""
    kernel = kernel_of(gauge)
    if kernel is None or (kind == "cpu" and kernel.flop > _MOST_CPU_FLOP):
        return None
    return kernel
