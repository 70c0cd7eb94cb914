"""The command that most likely comes next, made of what was just typed and found: one that works on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partkit.errors import PartkitError
from partkit_cli.options import MachineOptions, ModelOptions, typed

if TYPE_CHECKING:
    from partkit.data.cluster import Cluster
    from partkit.data.document import Document
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile

REPORT = "report.html"
COMPARISON = "comparison.json"
ANALYTIC = "h100"
EXECUTOR_OF_TOOL = {
    "accelerate": "accelerate",
    "deepspeed": "deepspeed",
    "torch": "torch-pipelining",
    "transformers": "transformers-pp",
}
"""The executor that runs a model by a tool that plans are exported to."""


def after_profile(
    model: str,
    profile: Profile,
    path: Path | None,
    building: ModelOptions,
    machine: MachineOptions,
    *,
    analytic: str | None,
) -> list[str]:
    """Plan what was profiled: its file, else the model as it was named, whose profile is kept."""
    if path is not None:
        return plan_of(profile, path)
    figures = [] if analytic is None else ["--analytic", analytic]
    return ["plan", model, *typed(building), *typed(machine), *figures, *_cluster_for(profile)]


def plan_of(profile: Profile, path: Path | str) -> list[str]:
    """Plan a profile's file."""
    return ["plan", str(path), *_cluster_for(profile)]


def after_plan(plan: Plan, path: Path | str, machine: MachineOptions | None = None) -> list[str]:
    """Run the plan where this machine can, or write with it, else look at its cuts."""
    if plan.generate is not None:
        return ["generate", str(path), "--tokens", "1,2,3", "--max-new-tokens", "8", *_consent(plan)]
    return run_of(plan, path, machine) or ["show", str(path)]


def run_of(plan: Plan, path: Path | str, machine: MachineOptions | None = None) -> list[str] | None:
    """Run the plan as ``machine`` says; None where it is plain that this machine cannot."""
    from partkit.ranks.run_options import RunOptions, require_request

    device = "auto" if machine is None else machine.device.value
    try:
        require_request(plan, plan.executor, RunOptions(device=device, allow_code=True))
    except PartkitError:
        return None
    return ["run", str(path), *(typed(machine) if machine is not None else ()), *_consent(plan)]


def after_run(plan: Plan, path: Path | str, machine: MachineOptions) -> list[str]:
    """See whether another way to run the model would be faster."""
    return ["compare", str(path), *typed(machine), *_consent(plan)]


def after_compare(
    plan: Plan,
    path: Path | str,
    machine: MachineOptions,
    executors: str | None,
    *,
    quick: bool,
    written: Path | None,
) -> list[str]:
    """A page of what was written; else the same again, kept this time, in full rounds."""
    if written is not None and not quick:
        return report_of(written, path)
    which = [] if executors is None else ["--with", executors]
    kept = ["-o", str(written or COMPARISON), "--html", REPORT]
    return ["compare", str(path), *which, *typed(machine), *_consent(plan), *kept]


def after_join(paths: Sequence[str], written: Path | None, *, allow_mixed: bool) -> list[str]:
    """A page of joined comparisons."""
    if written is not None:
        return report_of(written)
    mixed = ["--allow-mixed"] if allow_mixed else []
    return ["compare", "--from", *paths, *mixed, "-o", COMPARISON, "--html", REPORT]


def report_of(*paths: Path | str) -> list[str]:
    """A page of some files."""
    return ["report", *map(str, paths), "-o", REPORT]


def after_show(document: Document, path: Path | str) -> list[str]:
    """What a file that was looked at is good for."""
    from partkit.data.cluster import Cluster
    from partkit.data.difference import Difference
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile
    from partkit.data.result import Comparison, RunResult

    if isinstance(document, Profile):
        return plan_of(document, path)
    if isinstance(document, Plan):
        return run_of(document, path) or report_of(path)
    if isinstance(document, Cluster):
        return plan_for_cluster(document, path)
    return report_of(path) if isinstance(document, Comparison | Difference | RunResult) else ["plan", "bert"]


def plan_for_cluster(cluster: Cluster, name: Path | str) -> list[str]:
    """Plan a model for a cluster, with computed times where this machine has none of its kind of device."""
    from partkit.machine.devices import plainly_without_cuda

    computed = cluster.devices[0].type == "cuda" and plainly_without_cuda()
    return ["plan", "bert", "--cluster", str(name), *(["--analytic", ANALYTIC] if computed else [])]


def after_advise(
    model: str, building: ModelOptions, machine: MachineOptions, *, analytic: str | None, cluster: str | None
) -> list[str]:
    """Measure the ways that were advised on; of a machine that is not this one, plan the pipeline."""
    words = [model, *typed(building), *typed(machine)]
    if analytic is None and cluster is None:
        return ["compare", *words]
    figures = [] if analytic is None else ["--analytic", analytic]
    return ["plan", *words, *figures, *([] if cluster is None else ["--cluster", cluster])]


def after_export(path: Path, target: str) -> list[str]:
    """See what the other tool makes of the model beside the plan's own pipeline, where partkit drives that tool."""
    executor = EXECUTOR_OF_TOOL.get(target)
    return ["show", str(path)] if executor is None else ["compare", str(path), "--with", f"pipeline,{executor}"]


def after_diff(document: Document, paths: Sequence[Path]) -> list[str]:
    """Both results on a page; of what is no result, the later file by itself."""
    from partkit.data.result import Comparison, RunResult

    if isinstance(document, Comparison | RunResult):
        return report_of(*paths)
    return ["show", str(paths[1])]


def _consent(plan: Plan) -> list[str]:
    return ["--allow-code"] if plan.model.runs_own_code else []


def _cluster_for(profile: Profile) -> list[str]:
    """A cluster for a profile of devices that this machine has not, whose links it cannot measure."""
    from partkit.machine.devices import plainly_without_cuda

    return ["--cluster", "4x-nvlink"] if profile.device.type == "cuda" and plainly_without_cuda() else []
