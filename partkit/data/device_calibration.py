"""What operations of many sizes took on a device: what analytic times of that kind of device are corrected by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from partkit.data.document import Document, Measured, Record

Family = Literal["product", "attention", "convolution", "other"]
"""Operations that are as efficient as each other at one size."""
RESIDUAL = "error_of_nine_in_ten"
"""In a profile's provenance, under ``calibration``."""
_NEAREST = 4
_SAME_OPERATION = 0.5
"""How far off a point of another operation counts, beside the distance in factors of e of its sizes."""


class CalibrationPoint(Record):
    """One kernel as it was timed."""

    family: Family
    operation: str
    dtype: str
    flop: int = Field(ge=0)
    moved_bytes: int = Field(ge=0)
    seconds: Measured = Field(gt=0)
    nominal_s: Measured = Field(gt=0)
    """What the device's published figures say."""

    @property
    def factor(self) -> float:
        """How many times longer it took than by published figures."""
        return self.seconds / self.nominal_s


class DeviceCalibration(Document):
    """Measured kernels of one kind of device."""

    most_items: ClassVar[Mapping[str, int]] = {"points": 10_000}

    schema_version: Literal[1] = 1
    kind: Literal["calibration"] = "calibration"
    nominal: str
    """The published figures that it corrects, by their short name."""
    device: str
    threads: int | None = None
    """Of a CPU: that each operation ran with."""
    points: tuple[CalibrationPoint, ...] = Field(min_length=1)
    in_model: dict[str, Measured] = Field(default_factory=dict)
    """By dtype, what operations take within a model over what they take alone: caches are colder there, and kernels
    have gaps."""
    anchor: str = ""
    """The model that ``in_model`` was found with."""
    provenance: dict[str, Any] = Field(default_factory=dict)

    def in_model_of(self, dtype: str) -> float:
        """The factor of a dtype; of one that no anchor was profiled in, the first one's, and 1 where there is none."""
        return self.in_model.get(dtype, next(iter(self.in_model.values()), 1.0))

    def factor(self, family: Family, operation: str, dtype: str, flop: int, moved_bytes: int) -> float:
        """How many times longer than by published figures a kernel takes: by the points nearest to it.

        The weighted geometric mean of the nearest of its family and dtype, weights falling with the square of the
        distance in the logarithms of FLOP and bytes. 1 where the family has no point.
        """
        near = [each for each in self.points if each.family == family and each.dtype == dtype]
        near = near or [each for each in self.points if each.family == family]
        if not near:
            return 1.0
        place = _place(flop, moved_bytes)
        far = {
            index: math.dist(place, _place(each.flop, each.moved_bytes))
            + (0.0 if each.operation == operation else _SAME_OPERATION)
            for index, each in enumerate(near)
        }
        chosen = sorted(far, key=far.__getitem__)[:_NEAREST]
        weights = [1.0 / (far[index] ** 2 + 1e-3) for index in chosen]
        logs = [math.log(near[index].factor) for index in chosen]
        return math.exp(sum(w * log for w, log in zip(weights, logs, strict=True)) / sum(weights))

    def residuals(self) -> Sequence[float]:
        """Relative error of each point's time as the others tell it (leaving it out)."""
        found = []
        for index, point in enumerate(self.points):
            others = self.points[:index] + self.points[index + 1 :]
            if not others:
                return ()
            told = self.model_copy(update={"points": others})
            factor = told.factor(point.family, point.operation, point.dtype, point.flop, point.moved_bytes)
            found.append(factor / point.factor - 1)
        return found


def told_calibration(calibration: DeviceCalibration) -> dict[str, Any]:
    """What a profile's provenance tells of the calibration behind its times."""
    errors = sorted(map(abs, calibration.residuals()))
    told = {"device": calibration.device, "points": len(calibration.points), "anchor": calibration.anchor}
    if not errors:
        return told
    ninth = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
    return told | {"median_error": round(errors[len(errors) // 2], 3), RESIDUAL: round(ninth, 3)}


def _place(flop: int, moved_bytes: int) -> tuple[float, float]:
    return math.log(max(flop, 1)), math.log(max(moved_bytes, 1))
