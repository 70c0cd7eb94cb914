"""Planners by name: adding one is a new file in ``algorithms/`` and a line here."""

from __future__ import annotations

PLANNERS = {
    "auto": "partkit.planners.algorithms.auto:plan",
    "even": "partkit.planners.algorithms.even:plan",
    "by_params": "partkit.planners.algorithms.by_params:plan",
    "by_memory": "partkit.planners.algorithms.by_memory:plan",
    "chain": "partkit.planners.algorithms.chain:plan",
    "orders": "partkit.planners.algorithms.orders:plan",
    "ideals": "partkit.planners.algorithms.ideals:plan",
    "refine": "partkit.planners.algorithms.refine:plan",
}
"""Planner functions by name: each takes a Problem and returns an Outcome, or None where none is feasible."""
