"""partkit's planner against others' on one cost function, and how its time and memory grow.

python benchmarks/planner/main.py            everything (about 8 minutes on 2 cores)
python benchmarks/planner/main.py --peers    ratios to peers and to the bound
python benchmarks/planner/main.py --exact    gap to the exact contiguous optimum, searched without any pruning
python benchmarks/planner/main.py --scaling  time and peak memory, 100 to 20,000 nodes
python benchmarks/planner/main.py --targets  the times that the design asks for
python benchmarks/planner/main.py --hard [FOLDER]  graphs with very many downsets; with those in FOLDER, a checkout of
                                             github.com/msr-fiddle/dnn-partitioning
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
from instances import all_instances, box, dense_dag, operator_dag, random_chain, read_placement_graph  # noqa: E402

from partkit.data.cluster import Cluster  # noqa: E402
from partkit.data.plan import Plan  # noqa: E402
from partkit.data.profile import Profile  # noqa: E402
from partkit.planners import PlanRequest, make_plan  # noqa: E402
from partkit.planners.costs.graph import Graph, build_graph  # noqa: E402
from partkit.planners.problem.problem import Problem, make_problem  # noqa: E402
from partkit.planners.search.outcome import compact  # noqa: E402

CASES = ((4, True), (8, False))
"""Stages, and whether traffic overlaps compute."""
MAX_EXACT = 4_000
"""Downsets up to which the exact optimum is searched without pruning."""

TARGETS = [
    ("chain, 200 nodes, 16 stages, exact", "chain", 200, 16, 0, 0.020),
    ("1,000-node operator graph, 16 stages, with bound", "dag", 1000, 16, 8, 1.0),
    ("chain, 1,000 nodes, 64 stages, exact", "chain", 1000, 64, 0, 1.5),
    ("20,000-node operator graph, 64 stages", "dag", 20000, 64, 3, 20.0),
]


def main() -> None:
    wanted = sys.argv[1:]
    if wanted[:1] == ["--one"]:
        print(json.dumps(_one(*wanted[1:])))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread; "
        f"Python {platform.python_version()}, numpy {np.__version__}; {time.strftime('%Y-%m-%d')}\n"
    )
    if not wanted or "--targets" in wanted:
        print_targets()
    if not wanted or "--scaling" in wanted:
        print_scaling()
    if not wanted or "--exact" in wanted:
        print_exact()
    if not wanted or "--hard" in wanted:
        print_hard(Path(wanted[1]) if wanted[:1] == ["--hard"] and len(wanted) > 1 else None)
    if not wanted or "--peers" in wanted:
        print_peers()


def print_peers() -> None:
    """Ratio of each peer's period to partkit's; times are planning seconds."""
    from peers import PEERS

    names = list(PEERS)
    print("| instance | stages | overlap | partkit | gap to bound | s | even | by_params | " + " | ".join(names) + " |")
    print("|---|" + "---|" * (7 + len(names)))
    worst = float("inf")
    for name, profile in all_instances():
        for num_stages, overlap in CASES:
            plan, seconds = _timed_plan(profile, num_stages, overlap)
            ratios = [entry.period_s / plan.prediction.period_s for entry in plan.alternatives]
            cells = [f"{ratio:.3f}" for ratio in ratios]
            for peer in names:
                ratio, cell = _peer(peer, profile, num_stages, overlap, plan)
                ratios += [] if ratio is None else [ratio]
                cells.append(cell)
            worst = min([worst, *ratios])
            proof = f"{plan.bound.gap:.2%}" + (" (optimal)" if plan.bound.optimal else "")
            print(
                f"| {name} | {num_stages} | {'yes' if overlap else 'no'} | {plan.planner.name} | {proof} | "
                f"{seconds:.3f} | " + " | ".join(cells) + " |",
                flush=True,
            )
    print(f"\nSmallest ratio of a peer's period to partkit's: {worst:.6f}\n")


def _timed_plan(profile: Profile, num_stages: int, overlap: bool) -> tuple[Plan, float]:
    started_s = time.perf_counter()
    plan = make_plan(profile, box(num_stages, overlap=overlap), PlanRequest(num_stages=num_stages))
    return plan, time.perf_counter() - started_s


def _peer(name: str, profile: Profile, num_stages: int, overlap: bool, plan: Plan) -> tuple[float | None, str]:
    from peers import PEERS, PeerError

    graph = build_graph(profile)
    started_s = time.perf_counter()
    try:
        owner = np.array(PEERS[name](graph, num_stages))
    except PeerError as error:
        return None, str(error)
    seconds = time.perf_counter() - started_s
    period_s, backwards = _score(graph, profile, owner, num_stages, overlap)
    ratio = period_s / plan.prediction.period_s
    return ratio, f"{ratio:.3f}{' (back and forth)' if backwards else ''}, {seconds:.2f} s"


def _score(graph: Graph, profile: Profile, owner: np.ndarray, num_stages: int, overlap: bool) -> tuple[float, bool]:
    """The peer's period by partkit's cost function; inputs go where its first operation is."""
    owner = np.where(graph.is_input, owner[~graph.is_input][0], owner)
    assignment = compact(owner, [(device,) for device in range(num_stages)])
    problem = make_problem(profile, box(num_stages, overlap=overlap), PlanRequest(num_stages=num_stages))
    costs = problem.costs(assignment)
    return costs.period_s, bool((costs.traffic.source > costs.traffic.target).any())


def print_exact() -> None:
    """Each plan against the best over all downsets of the graph, none of them left out beforehand."""
    print("| instance | stages | overlap | downsets | gap to the exact optimum |\n|---|---|---|---|---|")
    gaps = []
    for name, profile in all_instances():
        for num_stages, overlap in CASES:
            plan, _ = _timed_plan(profile, num_stages, overlap)
            problem = make_problem(profile, box(num_stages, overlap=overlap), PlanRequest(num_stages=num_stages))
            count, exact_s = _exact_period(problem)
            cell = f"over {MAX_EXACT:,}: not searched"
            if exact_s is not None:
                gaps.append(max(plan.prediction.period_s / exact_s - 1, 0.0))
                cell = f"{gaps[-1]:.4%}"
            print(f"| {name} | {num_stages} | {'yes' if overlap else 'no'} | {count} | {cell} |", flush=True)
    zero = sum(gap < 1e-9 for gap in gaps)
    print(
        f"\n{zero} of {len(gaps)} plans with at most {MAX_EXACT:,} downsets meet the exact contiguous optimum; ", end=""
    )
    print(f"largest gap {max(gaps):.4%}\n")


def _exact_period(problem: Problem) -> tuple[str, float | None]:
    """Number of downsets, and a bound that no contiguous plan goes below; None where they are too many."""
    from partkit.planners.search import traffic_search
    from partkit.planners.search.downset_tables import downset_cuts
    from partkit.planners.search.downsets import enumerate_downsets
    from partkit.planners.search.solve import solve

    members = enumerate_downsets(problem.all_blocks, MAX_EXACT)
    if members is None:
        return f"over {MAX_EXACT:,}", None
    traffic_search.MAX_VISITS = 100_000  # without a plan to start from it needs more than a planner should
    found = solve(problem, downset_cuts(problem.all_blocks, members, problem.best_link, num_slots=None), "ideals")
    assert found is not None
    return f"{len(members):,}", found.bound


def print_targets() -> None:
    """The table of speeds that the design asks for: seconds of one thread's processor time, in a fresh process."""
    print("| case | asked | reached | peak memory | gap |\n|---|---|---|---|---|")
    for case, kind, num_nodes, num_stages, width, asked_s in TARGETS:
        found = _in_own_process(kind, num_nodes, num_stages, width)
        print(
            f"| {case} | {asked_s:g} s | {found['seconds']:.3f} s | {found['mib']:,} MiB | {found['gap']:.2%} |",
            flush=True,
        )
    found = _in_own_process("ideals", 0, 8, 0)
    print(
        f"| exact over {found['ideals']:,} ideals | 5 s | {found['seconds']:.3f} s | {found['mib']:,} MiB | "
        f"{found['gap']:.2%} |\n"
    )


def print_hard(folder: Path | None) -> None:
    """Period, proved gap and processor seconds where the downsets are very many."""
    print("| graph | stages | devices | period | gap | s |\n|---|---|---|---|---|---|")
    _timed_plan(random_chain(50, 1), 2, True)  # imports
    for name, devices, profile, cluster in _hard_cases(folder):
        started_s = time.process_time()
        plan = make_plan(profile, cluster, PlanRequest(num_stages=len(cluster.devices)))
        seconds = time.process_time() - started_s
        print(
            f"| {name} | {len(cluster.devices)} | {devices} | {plan.prediction.period_s:.7g} s | "
            f"{plan.bound.gap:.2%} | {seconds:.2f} |",
            flush=True,
        )
    print()


def _hard_cases(folder: Path | None) -> Iterator[tuple[str, str, Profile, Cluster]]:
    for path in sorted(folder.glob("throughput-inputs/*/*.json")) if folder else ():
        profile, cluster = read_placement_graph(path)
        yield f"{path.parent.name}/{path.stem}", "as given", profile, cluster
    for seed in range(3):
        yield f"dag-300-w8-{seed}", "no overlap", operator_dag(300, 8, seed), box(8, overlap=False)
    for seed in (1, 2):
        for cores in (None, 16.0, 8.0, 2.0):
            cluster = box(16, overlap=False).model_copy(update={"shared_cores": cores})
            devices = "no overlap" if cores is None else f"no overlap, {cores:g} shared cores"
            yield f"dense-1000-{seed}", devices, dense_dag(1000, seed), cluster


def print_scaling() -> None:
    """Seconds of processor time and peak MiB of a whole process, over nodes and stages."""
    counts = (2, 8, 64)
    print("| operator graph, nodes | " + " | ".join(f"{count} stages" for count in counts) + " |")
    print("|---|" + "---|" * len(counts))
    for num_nodes in (100, 300, 1000, 3000, 10000, 20000):
        cells = []
        for count in counts:
            found = _in_own_process("dag", num_nodes, count, 3)
            cells.append(f"{found['seconds']:.2f} s, {found['mib']:,} MiB, gap {found['gap']:.2%}")
        print(f"| {num_nodes:,} | " + " | ".join(cells) + " |", flush=True)
    print()


def _in_own_process(*arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _one(kind: str, num_nodes: str, num_stages: str, width: str) -> dict[str, float]:
    if kind == "ideals":
        return _all_ideals(int(num_stages))
    make = random_chain if kind == "chain" else lambda size, seed: operator_dag(size, int(width), seed)
    profile = make(int(num_nodes), 1)
    _timed_plan(random_chain(50, 1), 2, True)  # imports
    started_s = time.process_time()
    plan, _ = _timed_plan(profile, int(num_stages), True)
    return {"seconds": time.process_time() - started_s, "mib": _peak_mib(), "gap": plan.bound.gap}


def _all_ideals(num_stages: int) -> dict[str, float]:
    """All downsets of one graph, about 5,000, none of them left out beforehand."""
    from partkit.planners.search.downset_tables import downset_cuts
    from partkit.planners.search.downsets import enumerate_downsets
    from partkit.planners.search.solve import solve

    profile = operator_dag(1000, 5, 4)
    problem = make_problem(profile, box(num_stages), PlanRequest(num_stages=num_stages))
    started_s = time.process_time()
    members = enumerate_downsets(problem.blocks, 100_000)
    assert members is not None
    found = solve(problem, downset_cuts(problem.blocks, members, problem.best_link, num_slots=None), "ideals")
    assert found is not None
    seconds = time.process_time() - started_s
    gap = max(found.costs.period_s / found.bound - 1, 0.0)
    return {"seconds": seconds, "mib": _peak_mib(), "gap": gap, "ideals": len(members)}


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
