"""Every architecture that partkit is proved on: captured, cut in 2 and 4, run over gloo, compared with the whole."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from architectures import ARCHITECTURES, Architecture, modules  # noqa: E402

from partkit.data.cluster import Cluster, Device, Link  # noqa: E402
from partkit.data.job import RunJob  # noqa: E402
from partkit.data.orders import Load  # noqa: E402
from partkit.data.plan import Plan  # noqa: E402
from partkit.data.profile import Profile  # noqa: E402
from partkit.data.units import format_bytes  # noqa: E402
from partkit.errors import PartkitError  # noqa: E402
from partkit.models.sources import parse_model  # noqa: E402
from partkit.planners import PlanRequest, plan_as_asked  # noqa: E402
from partkit.ranks.group import RankGroup  # noqa: E402
from partkit.ranks.run_options import RunOptions, job_of  # noqa: E402
from partkit.runs.check import TOLERANCES, check_outputs, make_reference  # noqa: E402
from partkit.runs.profile_model import profile_model  # noqa: E402

NUM_STAGES = (2, 4)
LARGEST_RELATIVE = 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--rows", default=":", help="rows I:J of the table, counted from 0")
    options = parser.parse_args()
    first, _, end = options.rows.partition(":")
    chosen = [
        each
        for each in (*ARCHITECTURES, *modules())[int(first or 0) : int(end or 999)]
        if options.only.lower() in each.name.lower()
    ]
    profile_model(parse_model("bert-tiny"), analytic="cpu-core")  # imports are no part of a row's seconds
    print("| model | nodes | capture | 2 stages | sent | 4 stages | sent at each cut |\n|---|---|---|---|---|---|---|")
    num_failed = 0
    with tempfile.TemporaryDirectory(prefix="partkit-models-") as folder:
        for architecture in chosen:
            cells, works = row(architecture, Path(folder))
            num_failed += not works
            print(f"| {architecture.name} | {' | '.join(cells)} |", flush=True)
    print(f"\n{len(chosen)} models, {num_failed} with a fault")
    return 1 if num_failed else 0


def row(architecture: Architecture, folder: Path) -> tuple[list[str], bool]:
    """The cells after the name, and whether both splits gave the unsplit model's outputs."""
    try:
        spec = parse_model(architecture.folder_source(folder), **architecture.options)
        begin = time.perf_counter()
        profile = profile_model(spec, analytic="cpu-core")
    except PartkitError as error:
        return [f"not captured: {error}", *[""] * 5], False
    seconds = profile.provenance.get("capture_s", time.perf_counter() - begin)
    cells, works = [str(len(profile.nodes)), f"{seconds:.1f} s"], True
    reference: Path | None = None
    for num_stages in NUM_STAGES:
        try:
            plan = plan_of(profile, num_stages)
            job = job_of(plan, "pipeline", RunOptions(device="cpu", allow_code=True))
            reference = reference or make_reference(job, folder)
            told, agrees = split_result(job, reference)
            cells += [told, ", ".join(map(format_bytes, bytes_at_cuts(plan)))]
        except PartkitError as error:
            cells += [str(error), ""]
            agrees = False
        works = works and agrees
    return cells, works


def plan_of(profile: Profile, num_stages: int) -> Plan:
    """Exactly so many stages, whatever they gain: what is tried here is the cut and not the speed."""
    devices = tuple(Device(name=f"cpu{index}") for index in range(num_stages))
    cluster = Cluster(name="cores", devices=devices, link=Link(bytes_per_s=1e10), overlap=False)
    return plan_as_asked(profile, cluster, PlanRequest(num_stages=num_stages, exact_num_stages=True))


def split_result(job: RunJob, reference: Path) -> tuple[str, bool]:
    """Run the job's pipeline and return its largest difference from the unsplit model's outputs."""
    with RankGroup(job) as group:
        group.call(Load())
        check = check_outputs(group, reference)
    worst = check.max_abs_diff
    if worst is None or not check.passed:
        return f"DIFFERS by {worst}", False
    if worst == 0:
        return "same bits", True
    largest = check.tolerance / TOLERANCES[job.model.dtype]  # of the outputs, or 1 where that is more
    relative = worst / largest
    return f"{relative:.1e} relative", relative <= LARGEST_RELATIVE


def bytes_at_cuts(plan: Plan) -> list[int]:
    """What crosses each boundary between stages for one item, values that pass several counted at each."""
    return [
        sum(send.bytes for stage in plan.stages[:cut] for send in stage.sends if send.to >= cut)
        for cut in range(1, len(plan.stages))
    ]


if __name__ == "__main__":
    sys.exit(main())
