"""`map()` and `submit()` for a long time with random pauses, then pipelines opened and closed many times.

    PYTHONPATH=.:cli python3 benchmarks/faults/soak.py --minutes 30 --cycles 1000 -o soak.json

Each output is compared with what its own item must give, so that one lost, doubled or out of its turn is seen. Resident
memory, open files, threads and shared memory of this process and its ranks are looked at every few seconds; the first
fifth of the time is for warming up, and the rest must be flat: its last half against its first.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from partkit import Pipeline, PlanRequest, machine_cluster, open_pipeline, parse_model, plan_as_asked, profile_model
from partkit.data.plan import Plan
from partkit.machine.devices import resolve_device

_LOOK_S = 5.0
_NUM_THREADS = 4
_LONGEST_PAUSE_S = 0.2
_FLAT_BYTES = 8 << 20
"""Growth of the median resident memory that allocators explain; a leak of one item's kilobyte is far more."""
_SHARED = Path("/dev/shm")


@dataclass
class Held:
    """What this process and its ranks hold of the system."""

    at_s: float
    rss_bytes: int
    open_files: int
    threads: int
    shared_files: int
    processes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    device, draw = resolve_device(options.device), random.Random(options.seed)
    profile = profile_model(parse_model("py:benchmarks.filling.models:doubled"), device=device)
    plan = plan_as_asked(profile, machine_cluster(2, device=device), PlanRequest(num_stages=2, exact_num_stages=True))
    told: dict[str, object] = {"device": device, "load_average": psutil.getloadavg()}
    if options.minutes:
        told["items"] = soak(plan, device, options.minutes * 60, draw)
    if options.cycles:
        told["cycles"] = open_and_close(plan, device, options.cycles)
    text = json.dumps(told, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


def soak(plan: Plan, device: str, seconds: float, draw: random.Random) -> dict[str, object]:
    """Items in bursts of random length, through `map` and `submit` in turn, with pauses; what was held meanwhile."""
    begin, looked_at, count, held = time.monotonic(), 0.0, {"map": 0, "submit": 0}, list[Held]()
    with open_pipeline(plan, device=device, allow_code=True) as pipeline:
        while (now := time.monotonic()) - begin < seconds:
            if now - looked_at > _LOOK_S:
                held.append(look(now - begin))
                looked_at = now
            count["map"] += mapped(pipeline, draw)
            count["submit"] += submitted(pipeline, draw)
    return {"seconds": round(time.monotonic() - begin), "wrong": 0, **count, **flatness(held)}


def mapped(pipeline: Pipeline, draw: random.Random) -> int:
    """A map of a random number of items with pauses on both sides, now and then left early; returns outputs taken."""
    length, leave_at = draw.randrange(1, 2000), draw.choice([None, None, draw.randrange(1, 2000)])
    taken = 0
    for number, output in enumerate(pipeline.map(items_of(length, draw))):
        check(output, 0, number)
        taken += 1
        pause(draw)
        if number == leave_at:
            break
    return taken


def submitted(pipeline: Pipeline, draw: random.Random) -> int:
    """Items of several threads at once, each with pauses of its own; returns outputs taken."""

    def client(thread: int, length: int, own: random.Random) -> int:
        futures = []
        for item in items_of(length, own, thread):
            futures.append(pipeline.submit(item))
        for number, future in enumerate(futures):
            check(future.result(60), thread, number)
        return length

    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        lengths = [draw.randrange(1, 500) for _ in range(_NUM_THREADS)]
        seeds = [random.Random(draw.random()) for _ in range(_NUM_THREADS)]
        return sum(threads.map(client, range(_NUM_THREADS), lengths, seeds))


def items_of(length: int, draw: random.Random, thread: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Items that say whose they are and which."""
    for number in range(length):
        pause(draw)
        yield torch.full((1, 64), float(number)), torch.full((1, 64), float(thread))


def pause(draw: random.Random) -> None:
    """Rarely a pause, mostly none."""
    if draw.random() < 0.01:
        time.sleep(draw.random() * _LONGEST_PAUSE_S)


def check(output: torch.Tensor, thread: int, number: int) -> None:
    """Raise where an output is another item's."""
    if not bool((output == 2.0 * (number + thread)).all()):
        raise AssertionError(f"item {number} of thread {thread} got another's output: {output.flatten()[0]}")


def open_and_close(plan: Plan, device: str, cycles: int) -> dict[str, object]:
    """Pipelines opened, used for three items and closed; what was held after each."""
    begin, held = time.monotonic(), list[Held]()
    for _ in range(cycles):
        with open_pipeline(plan, device=device, allow_code=True) as pipeline:
            for number, output in enumerate(pipeline.map(items_of(3, random.Random(0)))):
                check(output, 0, number)
        held.append(look(time.monotonic() - begin))
    return {"cycles": cycles, "seconds": round(time.monotonic() - begin), **flatness(held)}


def look(at_s: float) -> Held:
    """What this process and those that it started hold now, once what only refers to itself is gone."""
    gc.collect()
    own = psutil.Process()
    rss = files = threads = count = 0
    for each in [own, *own.children(recursive=True)]:
        try:
            with each.oneshot():
                rss, files = rss + each.memory_info().rss, files + each.num_fds()
                threads, count = threads + each.num_threads(), count + 1
        except psutil.NoSuchProcess:
            continue
    return Held(round(at_s, 1), rss, files, threads, len(list(_SHARED.glob("partkit-*"))), count)


def flatness(held: list[Held]) -> dict[str, object]:
    """Medians of the two halves after warming up, and whether the second is no more than the first."""
    settled = held[len(held) // 5 :]
    halves = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    medians = [
        {name: statistics.median(getattr(each, name) for each in half) for name in list(asdict(held[0]))[1:]}
        for half in halves
        if half
    ]
    first, last = medians[0], medians[-1]
    grown = {name: last[name] - first[name] for name in first}
    few = all(grown[name] <= 0 for name in ("open_files", "threads", "shared_files", "processes"))
    return {"first": first, "last": last, "is_flat": few and grown["rss_bytes"] <= _FLAT_BYTES}


if __name__ == "__main__":
    main()
