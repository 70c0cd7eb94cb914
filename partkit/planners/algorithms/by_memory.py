"""Parameters dealt out in proportion to each device's memory, as llama.cpp and exo do where devices differ."""

from __future__ import annotations

import numpy as np

from partkit.planners.algorithms.by_params import param_weights
from partkit.planners.algorithms.even import deal_out
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import Outcome


def plan(problem: Problem) -> Outcome | None:
    """Walk the graph as :mod:`.by_params` does, and open the next device when its share of the memory is passed.

    Devices without a limit have equal shares. None where that breaks a pin or a memory cap. O(nodes).
    """
    caps = np.array([problem.cap_of(device) for device in range(problem.max_stages)])
    portions = caps if np.isfinite(caps).all() else np.ones(len(caps))
    return deal_out(problem, param_weights(problem), "by_memory", portions=portions)
