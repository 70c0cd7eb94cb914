"""BERT-base in 2 and 4 stages on this CPU, one thread per stage, beside one thread of the unsplit model."""

from __future__ import annotations

from partkit.models.sources import parse_model
from partkit.planners import PlanRequest, plan_as_asked
from partkit.ranks.run_options import RunOptions
from partkit.runs.compare import CompareOptions, compare_executors
from partkit.runs.machine_cluster import machine_cluster
from partkit.runs.profile_model import profile_model
from partkit.runs.run import run_plan

EXECUTORS = ("single", "pipeline", "dispatch", "fsdp")


def main() -> None:
    profile = profile_model(parse_model("bert"), device="cpu", threads=1, refresh=True)
    print("| stages | predicted samples/s | steady samples/s | error | bottleneck efficiency | max diff |")
    print("|---|---|---|---|---|---|")
    for num_stages in (2, 4):
        cluster = machine_cluster(num_stages, device="cpu", threads=1)
        plan = plan_as_asked(profile, cluster, PlanRequest(num_stages=num_stages))
        result = run_plan(plan, RunOptions(device="cpu", seconds=15))
        assert result is not None
        print(
            f"| {num_stages} | {plan.prediction.samples_per_s:.2f} | {result.steady_samples_per_s:.2f} | "
            f"{result.prediction_error:.3f} | {result.bottleneck_efficiency:.3f} | {result.check.max_abs_diff} |"
        )
        if num_stages == 2:
            two = plan
    options = CompareOptions(EXECUTORS, device="cpu", rounds=3, seconds_per_round=8)
    comparison = compare_executors(two, options)
    print("\n| executor | samples/s | 95% interval | over single | latency p50 |\n|---|---|---|---|---|")
    single = next(row.samples_per_s for row in comparison.rows if row.executor == "single")
    for row in comparison.rows:
        assert row.samples_per_s is not None
        assert row.ci95 is not None
        assert single is not None
        assert row.latency_p50_s is not None
        print(
            f"| {row.executor} | {row.samples_per_s:.2f} | {row.ci95[0]:.2f} to {row.ci95[1]:.2f} | "
            f"{row.samples_per_s / single:.2f} | {row.latency_p50_s * 1e3:.0f} ms |"
        )


if __name__ == "__main__":
    main()
