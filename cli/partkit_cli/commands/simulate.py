"""``partkit simulate``: a plan run in thought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.completion import cluster_names, plan_names
from partkit_cli.next_step import run_of
from partkit_cli.output import Output


def simulate(
    path: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan file.", autocompletion=plan_names)],
    output: Output,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME", help="Devices and links instead of the plan's own.", autocompletion=cluster_names
        ),
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="How many items.")] = 1000,
    rate: Annotated[
        float | None, typer.Option(min=1e-3, help="Samples/s that arrive, at random times; latency counts from then.")
    ] = None,
    jitter: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Standard deviation of a stage's time, as a share of it.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of arrivals and jitter.")] = 0,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a Chrome trace of the first 200 items.", writable=True),
    ] = None,
    result_path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the result.", writable=True)
    ] = None,
) -> None:
    """Run a plan in thought: slots, links, replicas, overlap and arrivals as a pipeline has them.

    Tells rate, latency and what each stage does with its time; nothing is run, and no device is needed.

    \b
    Examples:
      partkit simulate plans/bert4.json
      partkit simulate plans/bert2.json --rate 100 --items 20000 --jitter 0.05
      partkit simulate plans/bert2.json --cluster 2x-pcie-gen4 --trace trace.json
    """
    from partkit.data.builtin_clusters import load_cluster
    from partkit.data.plan import Plan
    from partkit.data.writing import write_text_atomically
    from partkit.planners.simulated_result import TRACED_ITEMS, simulated_result
    from partkit.reports.chrome_trace import chrome_trace

    plan = Plan.load(path)
    result, events = simulated_result(
        plan,
        cluster=None if cluster is None else load_cluster(cluster),
        num_items=items,
        samples_per_s=rate,
        jitter=jitter,
        seed=seed,
        num_traced=0 if trace is None else TRACED_ITEMS,
    )
    output.document(result)
    if trace is not None:
        write_text_atomically(trace, chrome_trace({"simulated": events}))
        output.note(f"wrote {trace}, which ui.perfetto.dev opens")
    if result_path is not None:
        output.note(f"wrote {result.save(result_path)}")
    following = run_of(plan, path)
    if following is not None:
        output.next_step(following)
