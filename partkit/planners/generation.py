"""How fast a plan of decode steps writes, from its stages' times and what crosses between them.

With L lanes of R rows over stages with periods p and one step's way through all of them, the token's way back included,
of t seconds, a lane takes a step every max(L * max(p), t) seconds, and R tokens come of each.
"""

from __future__ import annotations

from partkit.data.generate import Generate
from partkit.data.plan import Plan

_TOKEN_BYTES = 8


def predicted(plan: Plan, generate: Generate) -> Generate:
    """``generate`` with the tokens/s that the plan should reach in full lanes, and the seconds from token to token."""
    around_s = plan.prediction.latency_s + _way_back_s(plan, generate)
    step_s = max(generate.lanes * plan.prediction.period_s, around_s)
    if step_s <= 0:
        return generate
    return generate.model_copy(update={"tokens_per_s": generate.sequences / step_s, "token_s": step_s})


def _way_back_s(plan: Plan, generate: Generate) -> float:
    """A lane's tokens from the last stage's device to the first's."""
    first, last = plan.stages[0].devices[0], plan.stages[-1].devices[0]
    if first == last:
        return 0.0
    return plan.cluster.link_between(last, first).transfer_s(_TOKEN_BYTES * generate.rows)
