"""A plan and how to run it on this machine -> the order for its ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from partkit.data.job import DeviceType, LoopGraph, RunJob
from partkit.data.plan import NO_EXECUTOR, Plan
from partkit.errors import MachineError, MismatchError, UsageError
from partkit.executors import EXECUTORS, WRITERS, executor_info, require_executor
from partkit.machine.devices import most_cuda_devices, num_cuda_devices, plainly_without_cuda, resolve_device
from partkit.models.sources import require_consent
from partkit.ranks.filling import require_filling

P95_ITEMS = 20
"""Fewest items that a 95th percentile is given of without a warning."""


@dataclass(frozen=True)
class RunOptions:
    """How to run and measure a plan."""

    items: int | None = None
    """Items of the timed run; None: as many as fill ``seconds``."""
    seconds: float | None = None
    """Length of the timed run; None: ten seconds."""
    check: bool = True
    device: str = "auto"
    threads: int | None = None
    """Intra-op threads of each rank on the CPU; None: as the plan's profile was measured."""
    mode: Literal["throughput", "latency"] = "throughput"
    allow_code: bool = False
    latency_items: int = P95_ITEMS
    sizes: Mapping[str, int] = field(default_factory=dict)
    """``batch`` and ``seq`` of the items, of a plan whose sizes may vary; empty: the largest."""
    rate_per_s: float | None = None
    """Samples that arrive per second, at random times; latency then counts from an item's arrival."""
    timeout_s: float = 600.0
    """Longest that ranks may take over one order before they are ended."""
    streams: int = 1
    """CUDA streams of executors that can deal whole items to several."""
    loop_graph: LoopGraph = "auto"
    """Whether ranks put their loop over many items into one CUDA graph; auto: where it is the host that is slow."""
    memory_bytes: int | None = None
    """Most weights and values that the unsplit model may have on a device at once; None: what is free."""
    records: bool = False
    """Also record a run of its own: when each stage waited and computed."""
    devices: tuple[int, ...] | None = None
    """Device of each stage (of each replica, in order) instead of the plan's; a device given twice hosts both."""


def require_request(plan: Plan, executor: str, options: RunOptions) -> None:
    """Check a request before anything is imported or started: all but the exact number of CUDA devices.

    Raises what :func:`job_of` raises."""
    _require_runnable(plan, executor)
    info = require_executor(executor, allow_code=options.allow_code)
    require_consent(plan.model, allow_code=options.allow_code)
    plan.model.resized(options.sizes)  # raises for sizes that the plan does not serve
    require_filling(plan, executor, records=options.records)
    if options.rate_per_s is not None and not info.runs_stages:
        able = ", ".join(name for name, other in EXECUTORS.items() if other.runs_stages)
        raise UsageError(f"items cannot arrive at a rate with {executor}", hint=f"use one of {able}, or leave it out")
    if options.records and not info.runs_stages:
        able = ", ".join(name for name, other in EXECUTORS.items() if other.runs_stages)
        raise UsageError(f"{executor} has no stages whose timeline could be told", hint=f"use one of {able}")
    if options.rate_per_s is not None and options.mode == "latency":
        raise UsageError(
            "items cannot arrive at a rate and one at a time", hint="leave out --mode latency: --rate tells the latency"
        )
    is_cuda = options.device == "cuda" or (options.device == "auto" and plan.cluster.devices[0].type == "cuda")
    devices = _devices(plan, options.devices, "cuda" if is_cuda else "cpu")
    if is_cuda and plainly_without_cuda():
        _device_for(plan, options.device)  # raises
    elif is_cuda:
        _require_devices(devices, plan, most_cuda_devices())


def job_of(plan: Plan, executor: str, options: RunOptions) -> RunJob:
    """The job of the ranks that run ``plan`` under ``executor`` on this machine.

    Raises :class:`UsageError` for options or executors that do not go with the plan, :class:`MismatchError` for a plan
    that cannot run, :class:`MachineError` where its devices are missing.
    """
    require_request(plan, executor, options)
    info = executor_info(executor)
    device = _device_for(plan, options.device)
    lanes = plan.lanes if device == "cuda" else 1
    device_by_place = _devices(plan, options.devices, device)
    if device == "cuda":
        _require_devices(device_by_place, plan, num_cuda_devices())
    layout: dict[str, Any] = {"devices": device_by_place}
    if info.on_one_device:
        layout = {"devices": device_by_place[:1]}
    elif info.in_one_rank or options.devices is not None:
        hosts = device_by_place[:1] if info.in_one_rank else tuple(dict.fromkeys(device_by_place))
        rank_by_place = tuple(0 if info.in_one_rank else hosts.index(index) for index in device_by_place)
        layout = {"devices": hosts, "host_by_place": rank_by_place, "device_by_place": device_by_place}
    return RunJob(
        executor=executor,
        sizes=dict(options.sizes),
        plan=plan,
        device=device,
        threads=options.threads or planned_threads(plan),
        threads_by_rank=_threads_by_rank(plan, device, layout["devices"], options),
        num_slots=plan.constraints.num_slots * lanes,
        lanes=lanes,
        num_streams=options.streams,
        loop_graph=options.loop_graph,
        allow_code=options.allow_code,
        memory_bytes=options.memory_bytes,
        timeout_s=options.timeout_s,
        **layout,
    )


def _devices(plan: Plan, asked: tuple[int, ...] | None, device: DeviceType) -> tuple[int, ...]:
    planned = tuple(index for stage in plan.stages for index in stage.devices)
    if asked is not None and len(asked) != len(planned):
        raise UsageError(
            f"{len(asked)} devices were given for a plan of {len(planned)} places",
            hint=f"give one for each stage (and replica), as in --devices {','.join(map(str, planned))}",
        )
    count = len(plan.cluster.devices)
    if asked is not None and device == "cpu" and max(asked) >= count:
        raise UsageError(
            f"--devices {','.join(map(str, asked))} names device {max(asked)}, and the plan's cluster has {count} "
            f"CPU device{'s' if count != 1 else ''}",
            hint=f"use {'0' if count == 1 else f'0 to {count - 1}'}, or plan again with more devices",
        )
    return planned if asked is None else asked


def _require_runnable(plan: Plan, executor: str) -> None:
    """Refuse a plan that is for another use, and one whose stages wait for each other for ever."""
    _require_use(plan, executor)
    if not plan.contiguous and (executor == NO_EXECUTOR or executor_info(executor).runs_stages):
        raise MismatchError(
            f"no executor can run this plan of {len(plan.stages)} stages: they send values back and forth, and each "
            "runs once for an item",
            hint="plan again without --non-contiguous",
        )


def _require_use(plan: Plan, executor: str) -> None:
    """Refuse a plan that writes text where whole items are run, and the other way round."""
    source = plan.model.source
    if plan.generate is not None and executor not in WRITERS:
        raise UsageError(
            f"the plan of {source} writes text, and {executor} takes whole items",
            hint="use 'partkit generate', or plan again without --generate",
        )
    if plan.generate is None and executor in WRITERS:
        raise UsageError(
            f"the plan of {source} takes whole items and writes no text",
            hint=f"plan it with 'partkit plan {source} --generate --max-length N --stages {len(plan.stages)}'",
        )


def _threads_by_rank(plan: Plan, device: DeviceType, ranks: Sequence[int], options: RunOptions) -> tuple[int, ...]:
    """What the plan's CPU devices have of their own, unless the options give all the same; () where none has."""
    own = [plan.cluster.devices[index].threads for index in ranks] if device == "cpu" else []
    if options.threads is not None or not any(own):
        return ()
    return tuple(each or planned_threads(plan) for each in own)


def planned_threads(plan: Plan) -> int:
    """Intra-op threads that the plan's profile was measured with."""
    threads = plan.cluster.provenance.get("threads", 1)
    return threads if isinstance(threads, int) else 1


def _device_for(plan: Plan, asked: str) -> DeviceType:
    if asked != "auto":
        return resolve_device(asked)
    planned = plan.cluster.devices[0].type
    if planned == "cuda" and num_cuda_devices() == 0:
        raise MachineError(
            f"the plan is for {len(plan.stages)} CUDA devices and this machine has none",
            hint="run it with --device cpu, or re-plan here with 'partkit plan'",
        )
    return "cuda" if planned == "cuda" else "cpu"


def _require_devices(devices: Sequence[int], plan: Plan, found: int | None) -> None:
    """``found``: CUDA devices of this machine, or at most so many; None: nobody knows yet."""
    if found is not None and max(devices) >= found:
        raise MachineError(
            f"the plan has {len(plan.stages)} stages on devices {', '.join(map(str, devices))}, and this machine has "
            f"{found} CUDA device{'s' if found != 1 else ''}",
            hint=f"run it with --device cpu, or re-plan with 'partkit plan {plan.model.source} --stages {found}'",
        )
