"""What a comparison measures, and for how long, unless asked otherwise: defaults of library and command line alike."""

from __future__ import annotations

DEFAULT_EXECUTORS = ("single", "replicas", "pipeline", "split", "dispatch", "fsdp", "deepspeed")
ROUNDS, SECONDS_PER_ROUND = 9, 2.0
QUICK_ROUNDS, QUICK_SECONDS_PER_ROUND = 3, 0.5
"""Of a quick comparison: too few and short for figures to rely on."""
TIMEOUT_S = 600.0
"""Longest that one executor may take to load or for a run."""
