"""A split that partkit exported beside the tool's own default, in torch.distributed.pipelining, in alternating rounds.

    PYTHONPATH=.:cli python3 benchmarks/export/main.py --model bert-mini --stages 2 [--rounds 7] [--analytic cpu-core]

Both splits of one model, with the same weights and inputs, each in a group of processes over gloo (a thread each); in a
round one runs after the other, and a ratio is of the same round. The default split has the same number of layers in
every stage, as partkit's executor ``torch-pipelining`` has it. Outputs are compared with the unsplit model's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.pipelining import ScheduleGPipe, SplitPoint, pipeline

from partkit import PlanRequest, machine_cluster, plan_as_asked, profile_model
from partkit.executors.whole.torch_pipelining import even_layers, send_contiguous
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import load_model, parse_model
from partkit.reports.exports import export

_GROUP = 8
"""Items that fill and drain the pipeline together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bert-mini")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--groups", type=int, default=6, help="of 8 items, in each round")
    parser.add_argument("--analytic", help="plan from published figures instead of measuring")
    options = parser.parse_args()
    profile = profile_model(options.model, device="cpu", analytic=options.analytic)
    cluster = machine_cluster(options.stages, device="cpu")
    asked = PlanRequest(num_stages=options.stages, exact_num_stages=True, granularity="layer")
    plan = plan_as_asked(profile, cluster, asked)
    points = list(export(plan, profile, "torch").data)
    splits = {"exported": points, "the tool's default": _even(options)}
    rates: dict[str, list[float]] = {name: [] for name in splits}
    with tempfile.TemporaryDirectory() as folder:
        groups = {name: _Group(options, split, f"{folder}/{len(split)}-{name[:3]}") for name, split in splits.items()}
        for _ in range(options.rounds):
            for name, group in groups.items():
                rates[name].append(group.round())
        for group in groups.values():
            group.end()
    exported, default = rates.values()
    told = {
        "splits": splits,
        "items_per_s": {name: statistics.median(values) for name, values in rates.items()},
        "ratio": statistics.median(a / b for a, b in zip(exported, default, strict=True)),
        "rounds": rates,
    }
    print(json.dumps(told, indent=2))


def _even(options: argparse.Namespace) -> list[str]:
    return even_layers(load_model(parse_model(options.model)).materialise("cpu"), options.stages)


class _Group:
    """Processes of one split: two splits in one process group mix what they send."""

    def __init__(self, options: argparse.Namespace, split: list[str], file: str) -> None:
        context = mp.get_context("spawn")
        self._turns, self._rates = [context.Queue() for _ in range(options.stages)], context.Queue()
        arguments = (options, split, file, self._turns, self._rates)
        self._spawned = mp.spawn(_rank, arguments, nprocs=options.stages, join=False)
        assert self._rates.get(timeout=300) == "ready"

    def round(self) -> float:
        """Items/s of one round."""
        for turn in self._turns:
            turn.put("go")
        return float(self._rates.get(timeout=300))

    def end(self) -> None:
        """End its processes."""
        for turn in self._turns:
            turn.put("end")
        self._spawned.join()


def _rank(rank: int, options: argparse.Namespace, split: list[str], file: str, turns: list[Any], rates: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=options.stages)
    spec = parse_model(options.model)
    inputs = synthetic_inputs(spec, 0)
    joined = {name: torch.cat([value] * _GROUP) for name, value in inputs.items()}
    module = load_model(spec).materialise("cpu")
    pipe = pipeline(module, (), inputs, split_spec=dict.fromkeys(split, SplitPoint.BEGINNING))
    send_contiguous(pipe.split_gm)
    schedule = ScheduleGPipe(pipe.build_stage(rank, torch.device("cpu")), n_microbatches=_GROUP)
    is_last = rank == options.stages - 1
    with torch.no_grad():
        outputs = schedule.step(**joined) if rank == 0 else schedule.step()
        if is_last:
            right = module(**inputs).logits
            leaves = torch.utils._pytree.tree_leaves(outputs)
            found = next(value for value in leaves if value.shape[1:] == right.shape[1:])
            torch.testing.assert_close(found[: right.shape[0]], right, rtol=1e-4, atol=1e-4)
            rates.put("ready")
        while turns[rank].get() == "go":
            begin = time.perf_counter()
            for _ in range(options.groups):
                schedule.step(**joined) if rank == 0 else schedule.step()
            if is_last:  # it ends last, and begins when it is told, as all do
                rates.put(options.groups * _GROUP / (time.perf_counter() - begin))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
