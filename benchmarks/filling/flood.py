"""Every item of a flood through `submit` from 16 threads comes back once, to who sent it, with its own numbers.

    PYTHONPATH=.:cli python3 benchmarks/filling/flood.py --device cpu --items 100000

The model adds up two inputs and doubles them, in two stages; an item's numbers are its thread's and its own, so that an
output of any other item, or none, is seen at once. Host memory and open files are told at a tenth and at the end.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import torch

from partkit import PlanRequest, machine_cluster, open_pipeline, parse_model, plan_as_asked, profile_model
from partkit.machine.devices import resolve_device

_NUM_THREADS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--ahead", type=int, default=8, help="items of a thread under way at once")
    options = parser.parse_args()
    device = resolve_device(options.device)
    profile = profile_model(parse_model("py:benchmarks.filling.models:doubled"), device=device)
    plan = plan_as_asked(profile, machine_cluster(2, device=device), PlanRequest(num_stages=2, exact_num_stages=True))
    each = options.items // _NUM_THREADS
    with open_pipeline(plan, device=device, allow_code=True) as pipeline:

        def client(thread: int, count: int) -> int:
            under_way = deque[tuple[int, Future[Any]]]()
            wrong = 0
            for number in range(count):
                item = (torch.full((1, 64), float(number)), torch.full((1, 64), float(thread)))
                under_way.append((number, pipeline.submit(item)))
                if len(under_way) > options.ahead:
                    wrong += _is_wrong(thread, *under_way.popleft())
            return wrong + sum(_is_wrong(thread, *pair) for pair in under_way)

        with ThreadPoolExecutor(_NUM_THREADS) as threads:
            for count in (each // 10, each - each // 10):
                begin = time.perf_counter()
                wrong = sum(threads.map(client, range(_NUM_THREADS), [count] * _NUM_THREADS))
                seconds, this, total = time.perf_counter() - begin, psutil.Process(), count * _NUM_THREADS
                held = f"{this.memory_info().rss / 1e6:.0f} MB, {this.num_fds()} open files"
                print(f"{total} items in {seconds:.1f} s ({total / seconds:.0f}/s), {wrong} wrong; {held}", flush=True)
                assert not wrong


def _is_wrong(thread: int, number: int, future: Future[Any]) -> bool:
    return not bool((future.result() == 2.0 * (number + thread)).all())


if __name__ == "__main__":
    main()
