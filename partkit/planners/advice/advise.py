"""Ask every cost model, set what is published of each beside its answer, and rank them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from partkit.data.advice import Advice, Choice, Confidence
from partkit.data.cluster import Cluster
from partkit.data.profile import Profile
from partkit.data.published_errors import interval_of
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.planners.advice.one_device import one_device
from partkit.planners.advice.pipeline import pipeline
from partkit.planners.advice.replicas import replicas
from partkit.planners.advice.sharded import sharded
from partkit.planners.advice.situation import Estimate, Situation
from partkit.planners.advice.tensor_parallel import tensor_parallel
from partkit.planners.problem.request import Objective

WAYS: Mapping[str, Callable[[Situation], Estimate | str]] = {
    "single": one_device,
    "replicas": replicas,
    "pipeline": pipeline,
    "tp": tensor_parallel,
    "fsdp": sharded,
}
"""Cost model by way, the simplest first: of equals the first is advised. A text says why the way is not open."""
WAY_OF_EXECUTOR: Mapping[str, str] = {
    **dict.fromkeys(("single", "single-graph", "streamed"), "single"),
    "replicas": "replicas",
    **dict.fromkeys(("pipeline", "pipeline-nccl", "split", "torch-pipelining", "transformers-pp"), "pipeline"),
    **dict.fromkeys(("dispatch", "accelerate"), "pipeline"),
    **dict.fromkeys(("tp", "deepspeed", "deepspeed-inject"), "tp"),
    **dict.fromkeys(("fsdp", "fsdp1", "fsdp-replicated"), "fsdp"),
}
"""The way that each executor of a comparison goes."""
TIE = 0.02
"""Share within which a simpler way is as good."""
_HIGH, _FAIR = 0.1, 0.3


def advise(profile: Profile, cluster: Cluster, objective: Objective = "throughput") -> Advice:
    """Every way to run the profiled model on the cluster, best first; what does not fit comes last.

    Raises what planning raises for a graph that cannot be planned at all.
    """
    situation = Situation(profile, cluster, objective)
    choices: list[Choice] = []
    left_out: dict[str, str] = {}
    for way, ask in WAYS.items():
        answer = ask(situation)
        if isinstance(answer, str):
            left_out[way] = answer
        else:
            choices.append(_choice(way, answer, situation))
    best = _best([each for each in choices if each.fits], objective)
    ranked = sorted(choices, key=lambda each: (not each.fits, each is not best, _cost(each, objective)))
    return Advice(
        model=profile.model,
        cluster=cluster.name,
        devices=len(cluster.devices),
        objective=objective,
        choices=tuple(ranked),
        best=None if best is None else best.way,
        text=_text(best, ranked, situation),
        left_out=left_out,
    )


def _choice(way: str, found: Estimate, situation: Situation) -> Choice:
    device = "cuda" if situation.is_cuda else "cpu"
    profile = situation.profile
    # a calibration says how far kernels are off, and nothing of what FSDP and tensor parallelism cost beside them
    residual = profile.residual if way in ("single", "replicas", "pipeline") else None
    around = interval_of(found.samples_per_s, way, device, profile.method, residual)
    confidence: Confidence = "unknown"
    if around is not None:
        confidence = "high" if around.bound <= _HIGH else "fair" if around.bound <= _FAIR else "low"
    return Choice(
        way=way,
        interval=None if around is None else (around.low, around.high),
        confidence=confidence,
        error_source=None if around is None else around.source,
        **found.model_dump(mode="python"),
    )


def _cost(choice: Choice, objective: Objective) -> float:
    """What is to be small."""
    if objective == "memory":
        return float(choice.peak_bytes)
    return choice.latency_s if objective == "latency" else 1 / choice.samples_per_s


def _best(able: list[Choice], objective: Objective) -> Choice | None:
    """The first of those within :data:`TIE` of the best figure."""
    if not able:
        return None
    least = min(_cost(each, objective) for each in able)
    return next(each for each in able if _cost(each, objective) <= least * (1 + TIE))


def _text(best: Choice | None, ranked: list[Choice], situation: Situation) -> str:
    if best is None:
        whole = format_bytes(situation.whole_bytes)
        return f"The model fits on these devices in no way that is known here: it needs {whole} in all."
    others = [each for each in ranked if each.fits and each is not best]
    text = f"{best.way.capitalize()} is best for {situation.objective}: {_figure(best, situation.objective)}"
    if others:
        second = others[0]
        text += f", against {_figure(second, situation.objective)} with {second.way}"
        if best.interval and second.interval and _overlap(best.interval, second.interval):
            text += "; their intervals overlap, so that 'partkit compare' should decide"
    if best.way in ("single", "replicas"):
        text += "; you don't need to split"
    unfit = [each.way for each in ranked if not each.fits]
    return f"{text}{'; ' + ', '.join(unfit) + ' would not fit' if unfit else ''}."


def _figure(choice: Choice, objective: Objective) -> str:
    if objective == "memory":
        return f"{format_bytes(choice.peak_bytes)} a device"
    if objective == "latency":
        return f"{format_seconds(choice.latency_s)} an item"
    return f"{format_rate(choice.samples_per_s)} samples/s"


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
