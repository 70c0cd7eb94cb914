"""Colours that stages are told apart by, in the order of stages; later stages begin again."""

from __future__ import annotations

STAGE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c8c8c")
"""Okabe and Ito's, which every kind of colour vision keeps apart."""


def stage_colour(stage: int) -> str:
    """The colour of a stage."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]
