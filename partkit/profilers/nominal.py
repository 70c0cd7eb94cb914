"""Devices by name with the figures that their makers publish: what an analytic profile is computed from; no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import Field

from partkit.data.cache import cache_folder
from partkit.data.device_calibration import DeviceCalibration
from partkit.data.document import Record
from partkit.errors import FormatError, UsageError

SUFFIX = " (nominal figures)"


class NominalDevice(Record):
    """A device's published limits; real programs stay below them, so times computed from them are too short."""

    name: str
    type: str
    flop_per_s: Mapping[str, float]
    """Dense peak by dtype. Others run at float32's rate."""
    bytes_per_s: float = Field(gt=0)
    """Memory bandwidth."""
    kernel_s: float = Field(ge=0)
    """What each kernel costs beside its work: start, end and the gap to the next in a CUDA graph."""
    citation: str

    @property
    def label(self) -> str:
        """The name that profiles and plans show: it says that nothing was measured."""
        return self.name + SUFFIX

    def kernel_time_s(self, flop: float, moved_bytes: float, dtype: str) -> float:
        """Roofline (Williams, Waterman, Patterson 2009): the slower of arithmetic and memory, and the overhead.

        >>> nominal_device("h100").kernel_time_s(67e12, 0, "float32")
        1.000002
        """
        peak = self.flop_per_s.get(dtype, self.flop_per_s["float32"])
        return max(flop / peak, moved_bytes / self.bytes_per_s) + self.kernel_s


def nominal_device(name: str) -> NominalDevice:
    """The device of that short name, of the label that a plan shows, or that a calibration's file is of.

    Raises :class:`UsageError` with the names, and :class:`FormatError` for a file that is no calibration.
    """
    if name.endswith(".json"):
        return nominal_device(DeviceCalibration.load(name).nominal)
    by_label = {device.label: device for device in NOMINAL.values()}
    found = NOMINAL.get(name.lower()) or by_label.get(name)
    if found is None:
        near = difflib.get_close_matches(name.lower(), NOMINAL, n=2)
        raise UsageError(
            f"there are no published figures here for a device {name!r}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"use one of {', '.join(NOMINAL)}",
        )
    return found


_KERNEL_S = 2.0e-6
_GAP = "2 us per kernel assumed (start, end and gap in a CUDA graph)"


def _gpu(
    name: str, *, tflop_per_s: tuple[float, float], gigabytes_per_s: float, source: str, bfloat16: bool = True
) -> NominalDevice:
    """A GPU with its float32 rate without TF32, and its half-precision rate without sparsity."""
    single, half = (value * 1e12 for value in tflop_per_s)
    return NominalDevice(
        name=name,
        type="cuda",
        flop_per_s={"float32": single, "float16": half, "bfloat16": half if bfloat16 else single},
        bytes_per_s=gigabytes_per_s * 1e9,
        kernel_s=_KERNEL_S,
        citation=f"{source}: dense peaks, float32 without TF32; {_GAP}",
    )


NOMINAL: Mapping[str, NominalDevice] = MappingProxyType(
    {
        "h200": _gpu(
            "NVIDIA H200 SXM", tflop_per_s=(67, 989), gigabytes_per_s=4800, source="NVIDIA H200 datasheet (2024)"
        ),
        "h100": _gpu(
            "NVIDIA H100 SXM", tflop_per_s=(67, 989), gigabytes_per_s=3350, source="NVIDIA H100 datasheet (2024)"
        ),
        "a100": _gpu(
            "NVIDIA A100 80GB SXM", tflop_per_s=(19.5, 312), gigabytes_per_s=2039, source="NVIDIA A100 datasheet (2021)"
        ),
        "l40s": _gpu(
            "NVIDIA L40S", tflop_per_s=(91.6, 362), gigabytes_per_s=864, source="NVIDIA L40S datasheet (2023)"
        ),
        "l4": _gpu("NVIDIA L4", tflop_per_s=(30.3, 121), gigabytes_per_s=300, source="NVIDIA L4 datasheet (2023)"),
        "a10": _gpu("NVIDIA A10", tflop_per_s=(31.2, 125), gigabytes_per_s=600, source="NVIDIA A10 datasheet (2021)"),
        "v100": _gpu(
            "NVIDIA V100 SXM2",
            tflop_per_s=(15.7, 125),
            gigabytes_per_s=900,
            source="NVIDIA V100 datasheet (2018)",
            bfloat16=False,
        ),
        "t4": _gpu(
            "NVIDIA T4", tflop_per_s=(8.1, 65), gigabytes_per_s=300, source="NVIDIA T4 datasheet (2019)", bfloat16=False
        ),
        "cpu-core": NominalDevice(
            name="one CPU core",
            type="cpu",
            flop_per_s={"float32": 96e9, "float64": 48e9},
            bytes_per_s=1.0e10,
            kernel_s=5.0e-6,
            citation="assumed: AVX2 with two fused multiply-adds per cycle (32 FLOP) at 3 GHz, 10 GB/s, 5 us per call",
        ),
    }
)
"""By the name that ``--analytic`` takes."""


def short_name_of(device_type: str, device_name: str) -> str | None:
    """The short name of a device as its driver names it; None where no published figures are of it.

    >>> short_name_of("cuda", "NVIDIA H100 80GB HBM3"), short_name_of("cuda", "NVIDIA L40S"), short_name_of("cpu", "x")
    ('h100', 'l40s', 'cpu-core')
    """
    if device_type == "cpu":
        return "cpu-core"
    words = device_name.lower().replace("-", " ").split()
    return next((name for name in NOMINAL if name in words), None)


def calibration_path(name: str) -> Path:
    """Where the calibration of a kind of device is kept, by its short name."""
    return cache_folder("calibrations") / f"{name}.json"


def calibration_for(name: str) -> DeviceCalibration | None:
    """The calibration in a file, or the one kept for a device of that short name, if there is one."""
    if name.endswith(".json"):
        return DeviceCalibration.load(name)
    try:
        return DeviceCalibration.load(calibration_path(name.lower()))
    except (FormatError, OSError):
        return None
