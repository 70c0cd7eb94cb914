"""Measure several ways to run a model side by side, and write a page that can be sent to anyone.

Rounds are short here, so that the figures are rough; leave ``rounds`` and ``seconds_per_round`` out for figures to rely
on. Writes ``comparison.json`` and ``plan.json`` into the folder that is named (default: the working folder), and
``report.html``, as ``partkit report comparison.json plan.json`` makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import partkit
from net import make_net
from partkit_cli.reporting import write_report


def main(folder: Path) -> None:
    """Print each way's rate, the verdict and where the page is."""
    module, example = make_net()
    profile = partkit.profile_model(module, example_inputs=example)
    plan = partkit.plan_as_asked(profile, partkit.machine_cluster(2), partkit.PlanRequest(num_stages=2))
    options = partkit.CompareOptions(
        executors=("single", "pipeline", "replicas"), rounds=3, seconds_per_round=0.2, quick=True
    )
    comparison = partkit.compare_executors(plan, options)
    for row in comparison.rows:
        print(f"{row.executor:10} {row.status:4} {row.samples_per_s or 0:8.1f} samples/s  {row.reason or ''}")
    print(comparison.verdict.text)
    documents = {"comparison.json": comparison, "plan.json": plan}
    for name, document in documents.items():
        document.save(folder / name)
    num_bytes = write_report(documents, folder / "report.html")
    print(f"wrote {folder / 'report.html'} ({num_bytes} bytes)")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
