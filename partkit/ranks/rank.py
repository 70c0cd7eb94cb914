"""A rank: takes orders from its parent (or from rank 0 under torchrun) until told to stop."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch._C._distributed_c10d import PrefixStore, Store

from partkit.data.job import Job
from partkit.executors import ON_STAGES, Executor, RankContext, make_executor
from partkit.executors.protocol import Leaves, ScheduledExecutor, StreamingExecutor, Trace
from partkit.machine.environment import describe_environment, host_peak_bytes
from partkit.machine.gpu_sampler import GpuSampler
from partkit.models.of_job import capture_job_model, load_job_model
from partkit.profilers.on_device import profile_on
from partkit.ranks.failure import failure_of
from partkit.ranks.group import Reply, connect, serve, write_failure
from partkit.transport.probe import LinkProbe

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_CONNECTIONS = "32"
"""Hardware queues that CUDA may deal the streams of edges to; two streams in one wait for each other's waits."""
_SETTLED_AFTER = 0.2
"""Share of a run's outputs after which the pipeline is full and the steady rate is counted."""


def main(log_dir: Path) -> int:
    """What a forked process does; the exit code is the fault's."""
    end_with_parent()
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"partkit-rank-{rank}".encode())  # for top and the like
    job = Job.model_validate_json((log_dir / "job.json").read_text(encoding="utf-8"))
    try:
        store = connect(job.timeout_s)
        served = Rank(job, rank, world_size, PrefixStore("group", store))
        serve(store, rank, served.handle)
        served.close()
    except Exception as error:  # noqa: BLE001 - whatever ends a rank is told to the parent
        traceback.print_exc()
        failure = failure_of(error, rank)
        write_failure(log_dir, failure)
        sys.stderr.flush()
        os._exit(failure.exit_code)  # other threads may be stuck in a collective: do not wait for them
    return 0


def end_with_parent() -> None:
    """Have the system end this process when its parent is killed outright (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Rank:
    """One rank of a job."""

    def __init__(self, job: Job, rank: int, world_size: int, store: Store, *, device_index: int | None = None) -> None:
        device = torch.device("cpu")
        if job.device == "cuda":
            if job.executor in (*ON_STAGES, "links"):
                os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", _CONNECTIONS)
            device = torch.device("cuda", job.devices[rank] if device_index is None else device_index)
            torch.cuda.set_device(device)
        torch.set_num_threads(job.threads)
        torch.set_float32_matmul_precision("high" if job.model.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = job.model.tf32
        timeout = timedelta(seconds=job.timeout_s)
        backend = "cpu:gloo,cuda:nccl" if job.device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        control = dist.new_group(backend="gloo", timeout=timeout)
        self._context = RankContext(job, rank, world_size, device, control)
        self._executor: Executor | None = None
        own = job.devices_of(rank) if job.device_by_place or device_index is None else (device_index,)
        self._samplers = {index: GpuSampler(index) for index in own} if device.type == "cuda" else {}
        self._actions: dict[str, Callable[..., Reply]] = {
            "load": self._load,
            "reference": self._reference,
            "check": self._check,
            "stage": self._stage,
            "run": self._run,
            "open_stream": self._open_stream,
            "stream": self._stream,
            "prepare": self._prepare,
            "profile": self._profile,
            "links": self._links,
            "environment": lambda: describe_environment(),
        }

    def handle(self, action: str, payload: dict[str, Any]) -> Reply:
        """Do one order."""
        return self._actions[action](**payload)

    def close(self) -> None:
        """Release the executor, then the process group."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        dist.destroy_process_group()

    # --- orders ---

    def _load(self) -> Reply:
        begin = time.perf_counter()
        self._executor = make_executor(self._context)
        self._executor.load()
        gc.collect()
        gc.freeze()  # a collection within a run would look at every object of torch's, for 0.3 s
        return {
            "seconds": time.perf_counter() - begin,
            "data_parallel": self._executor.is_data_parallel,
            "items_at_once": self._executor.items_at_once,
            "warnings": self._executor.warnings,
        }

    def _reference(self, items: int, path: str) -> Reply:
        """Run items and write their outputs for other groups to check against."""
        trace = self._ready().run(range(items), keep=range(items), one_at_a_time=False)
        tensors = {f"{item}.{index}": leaf.contiguous() for item, index, leaf in _tensors(trace)}
        save_file(tensors, path)
        return {"outputs": len(tensors)}

    def _check(self, items: int, path: str) -> Reply:
        """Run items and compare their outputs with the reference's; None on ranks that return none."""
        trace = self._ready().run(range(items), keep=range(items), one_at_a_time=False)
        return self._compared(trace, path)

    def _compared(self, trace: Trace, path: str) -> Reply:
        """Outputs against the reference's, which has one item of each distinct input."""
        if not trace.outputs:
            return {"max_abs_diff": None}
        worst, largest, matches = 0.0, 0.0, True
        with safe_open(path, framework="pt") as file:
            expected = set(file.keys())
            for item, index, leaf in _tensors(trace):
                key = f"{item % self._context.job.num_inputs}.{index}"
                if key not in expected or tuple(file.get_slice(key).get_shape()) != tuple(leaf.shape):
                    matches = False
                    continue
                reference = file.get_tensor(key)
                worst = max(worst, _difference(leaf.double(), reference.double()))
                largest = max(largest, _max_abs(reference.double()[reference.isfinite()]))
        finite = worst < float("inf")
        return {"max_abs_diff": worst if finite else None, "max_abs": largest, "matches": matches and finite}

    def _stage(self) -> Reply:
        """Seconds of each place that this rank hosts."""
        return {"seconds": {str(place): seconds for place, seconds in self._ready().stage_s().items()}}

    def _run(
        self,
        items: int,
        one_at_a_time: bool = False,
        rate_per_s: float | None = None,
        sample: tuple[int, ...] = (),
        path: str = "",
    ) -> Reply:
        """A timed run; rates of this rank's own outputs. Those of ``sample`` are compared with the reference's."""
        for sampler in self._samplers.values():
            sampler.start()
        if rate_per_s is None:
            trace = self._ready().run(range(items), keep=frozenset(sample), one_at_a_time=one_at_a_time)
        else:
            scheduled = cast("ScheduledExecutor", self._ready())
            trace = scheduled.run_at_rate(range(items), rate_per_s=rate_per_s, seed=0)
        reply: Reply = {
            "begin": trace.begin,
            "end": trace.end,
            "busy": trace.busy_s / (trace.end - trace.begin),
            "finished": len(trace.finished),
            "steady_per_s": _steady_rate(list(trace.finished.values())),
            "uses": self._device_uses(),
            "host_peak_bytes": host_peak_bytes(),
        }
        if one_at_a_time or rate_per_s is not None:
            reply |= {"entered_at": list(trace.entered.items()), "finished_at": list(trace.finished.items())}
        return reply | ({"sample": self._compared(trace, path)} if sample else {})

    def _device_uses(self) -> list[Reply]:
        """Utilisation since the samplers' start and peak memory so far, by device of this rank."""
        if not self._samplers:
            nothing = {"gpu_util_mean": None, "gpu_util_max": None, "throttled_by": ()}
            return [{"device": "cpu", "peak_bytes": host_peak_bytes(), **nothing}]
        uses: list[Reply] = []
        for index, sampler in self._samplers.items():
            seen = sampler.stop()
            uses.append(
                {
                    "device": f"cuda:{index}",
                    "gpu_util_mean": seen.util_mean if seen else None,
                    "gpu_util_max": seen.util_max if seen else None,
                    "throttled_by": seen.throttled_by if seen else (),
                    "peak_bytes": torch.cuda.max_memory_allocated(index),
                }
            )
        return uses

    def _open_stream(self, folder: str, num_slots: int) -> Reply:
        cast("StreamingExecutor", self._ready()).open_stream(Path(folder), num_slots)
        return {}

    def _stream(self) -> Reply:
        """A program's own items, until it ends them."""
        cast("StreamingExecutor", self._ready()).stream()
        return {}

    def _prepare(self) -> Reply:
        """Capture the model that is to be profiled; the device is not touched yet."""
        begin = time.perf_counter()
        loaded = load_job_model(self._context.job)
        self._prepared = loaded, capture_job_model(self._context.job, loaded)
        self._capture_s = time.perf_counter() - begin
        return {}

    def _profile(self, path: str) -> Reply:
        """Measure every node of the prepared model on this rank's device and write the profile."""
        loaded, captured = self._prepared
        begin = time.perf_counter()
        profile = profile_on(self._context.device, loaded, captured, threads=self._context.job.threads)
        taken = {"capture_s": round(self._capture_s, 3), "profile_s": round(time.perf_counter() - begin, 3)}
        profile = profile.model_copy(update={"provenance": {**taken, **profile.provenance}})
        profile.save(path)
        return {"nodes": len(profile.nodes)}

    def _links(self) -> Reply:
        """Ping-pong between every pair of ranks in turn; one-way seconds by size on the pair's ranks."""
        context, on_cuda = self._context, self._context.device.type == "cuda"
        seconds: dict[str, list[float]] = {}
        probe = LinkProbe(context.rank, context.world_size, context.device)
        for pair in itertools.combinations(range(context.world_size), 2):
            if context.rank in pair:
                (peer,) = set(pair) - {context.rank}
                seconds["{}-{}".format(*pair)] = probe.one_way_s(peer)
            context.barrier()
        probe.close()
        if not on_cuda:
            return {"seconds": seconds, "memory_bytes": None, "name": "cpu"}
        memory, name = torch.cuda.mem_get_info(context.device)[1], torch.cuda.get_device_name(context.device)
        return {"seconds": seconds, "memory_bytes": memory, "name": name}

    def _ready(self) -> Executor:
        assert self._executor is not None, "an order before 'load'"
        return self._executor


def _tensors(trace: Trace) -> list[tuple[int, int, torch.Tensor]]:
    def numbered(leaves: Leaves) -> list[tuple[int, torch.Tensor]]:
        return [(index, leaf) for index, leaf in enumerate(leaves) if leaf is not None]

    return [(item, index, leaf) for item, leaves in trace.outputs.items() for index, leaf in numbered(leaves)]


def _difference(given: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference; where the model itself gives an infinity or no number, the same counts as equal."""
    same = (given == reference) | (given.isnan() & reference.isnan())
    return _max_abs(torch.where(same, 0.0, given - reference))


def _max_abs(tensor: torch.Tensor) -> float:
    """Largest magnitude; infinite where anything is not a number."""
    if tensor.numel() == 0:
        return 0.0
    value = float(tensor.abs().max())
    return value if value == value else float("inf")


def _steady_rate(finished: list[float]) -> float | None:
    """Outputs per second once the pipeline is full; None for too few outputs, or all of them at once."""
    if not finished:
        return None
    since, last = finished[int(len(finished) * _SETTLED_AFTER)], finished[-1]
    later = sum(end > since for end in finished)  # several may end at once
    return later / (last - since) if later else None
