"""How fast a plan of steps writes, and the profile of steps that read prompts and write in turn.

With L lanes of R rows over stages of s seconds each, and t seconds for one step's way through all of them and the
token's way back, a lane takes a step every max(L * max(s), t) seconds, and R tokens come of each.

A sequence of P tokens of prompt and N new ones takes ceil(P / C) steps of a chunk of C tokens, the last of which gives
its first token, and N - 1 steps of one token. While any of a lane's rows reads its prompt the lane's step is that wide.
"""

from __future__ import annotations

from collections.abc import Iterable

from partkit.data.generate import Generate
from partkit.data.plan import Plan, Stage
from partkit.data.profile import Calibration, Profile
from partkit.errors import MismatchError

_TOKEN_BYTES = 8


def mixed(narrow: Profile, wide: Profile, generate: Generate) -> Profile:
    """A profile of the mean step of ``generate.mix``, from those of steps of one token and of a chunk.

    Both have the same nodes: a chunk's step is the same graph in other shapes. Raises :class:`MismatchError` otherwise.
    """
    share = wide_share(generate)
    if [node.name for node in narrow.nodes] != [node.name for node in wide.nodes]:
        raise MismatchError(
            f"the profiles of {narrow.model.source} for steps of one token and of {generate.chunk} have other nodes",
            hint="measure both anew with --refresh, or leave --mix out",
        )
    scale = wide.calibration.scale / narrow.calibration.scale
    nodes = tuple(
        one.model_copy(
            update={
                "time_s": (1 - share) * one.time_s + share * scale * other.time_s,
                "output_bytes": round((1 - share) * one.output_bytes + share * other.output_bytes),
            }
        )
        for one, other in zip(narrow.nodes, wide.nodes, strict=True)
    )
    workspace = max(narrow.calibration.workspace_bytes, wide.calibration.workspace_bytes)
    calibration = Calibration(scale=narrow.calibration.scale, workspace_bytes=workspace)
    return narrow.model_copy(update={"nodes": nodes, "calibration": calibration})


def wide_share(generate: Generate) -> float:
    """Share of a lane's steps that are of a chunk, where its rows read their prompts one after the other."""
    chunks, narrow = _steps(generate)
    return min(1.0, generate.rows * chunks / (chunks + narrow))


def predicted(plan: Plan, generate: Generate, narrow: Profile, wide: Profile | None) -> Generate:
    """``generate`` with what the plan should reach; of prompts, and of the mix, only where ``wide`` was profiled."""
    send_s = sum(send.time_s for stage in plan.stages for send in stage.sends) + _way_back_s(plan, generate)
    token_s = _step_s(generate, _stages_s(narrow, plan.stages), send_s)
    if token_s <= 0:
        return generate
    if wide is None:
        return generate.model_copy(update={"tokens_per_s": generate.sequences / token_s, "token_s": token_s})
    chunks, num_narrow = _steps(generate)
    chunk_s = _step_s(generate, _stages_s(wide, plan.stages), send_s)
    share = wide_share(generate)
    mean_s = (1 - share) * token_s + share * chunk_s
    tokens = generate.sequences * generate.mix[1] / (chunks + num_narrow)
    return generate.model_copy(
        update={"tokens_per_s": tokens / mean_s, "token_s": token_s, "first_token_s": chunks * chunk_s}
    )


def _steps(generate: Generate) -> tuple[int, int]:
    """Steps of a chunk, and of one token, that a usual sequence takes."""
    prompt, new = generate.mix
    return -(-prompt // generate.chunk), new - 1


def _step_s(generate: Generate, stages_s: Iterable[float], send_s: float) -> float:
    """Seconds between the steps of one lane."""
    seconds = tuple(stages_s)
    return max(generate.lanes * max(seconds), sum(seconds) + send_s)


def _stages_s(profile: Profile, stages: Iterable[Stage]) -> Iterable[float]:
    time_s = {node.name: node.time_s * profile.calibration.scale for node in profile.nodes}
    return [sum(time_s[name] for name in (*stage.nodes, *stage.recomputes)) for stage in stages]


def _way_back_s(plan: Plan, generate: Generate) -> float:
    """A lane's tokens from the last stage's device to the first's."""
    first, last = plan.stages[0].devices[0], plan.stages[-1].devices[0]
    if first == last:
        return 0.0
    return plan.cluster.link_between(last, first).transfer_s(_TOKEN_BYTES * generate.rows)
