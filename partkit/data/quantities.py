"""Times, rates and factors as files give them: within what arithmetic on them stands, and far beyond what there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field

from partkit.data.document import Measured


def _within(least: float, most: float, unit: str, *, or_zero: bool) -> Callable[[float], float]:
    def checked(value: float) -> float:
        if least <= value <= most or (or_zero and value == 0):
            return value
        zero = "0, or " if or_zero else ""
        raise ValueError(f"{value:g} is out of range: {zero}{least:g} to {most:g}{unit} is meant")

    return checked


Seconds = Annotated[float, AfterValidator(_within(1e-18, 1e9, " s", or_zero=True))]
"""A time: an operation on one byte takes 1e-13 s of the fastest memory, a year has 3e7 s."""
MeasuredSeconds = Annotated[Measured, AfterValidator(_within(1e-18, 1e9, " s", or_zero=True))]
BytesPerSecond = Annotated[float, AfterValidator(_within(1e-3, 1e18, " bytes/s", or_zero=False))]
Factor = Annotated[float, Field(gt=0), AfterValidator(_within(1e-6, 1e6, "", or_zero=False))]
"""How many times as fast as another something is."""
MeasuredFactor = Annotated[Measured, AfterValidator(_within(1e-6, 1e6, "", or_zero=False))]
