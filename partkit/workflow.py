"""The steps before a plan: a model's profile and this machine's cluster, measured by ranks and kept in a cache."""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

from partkit.archive import archive_module
from partkit.capture import capture
from partkit.cluster import Cluster, Device, Link, PairLink
from partkit.document import digest
from partkit.errors import UsageError
from partkit.job import DeviceType, Job
from partkit.kept import find_kept, keep_profile, kept_path
from partkit.launch import WorkerGroup
from partkit.machine import host_memory_bytes, num_cores, num_cuda_devices, resolve_device
from partkit.measure import describe_environment
from partkit.model import ModelSpec
from partkit.profile import Profile, ProfiledDevice
from partkit.profilers.analytic import analytic_times
from partkit.profilers.assemble import assemble
from partkit.profilers.nominal import NominalDevice, nominal_device
from partkit.progress import Progress, silent
from partkit.sources import load_model, parse_model
from partkit.transport.probe import fit_link

_UNCACHED = ("py:", "pt2:", "hf:")
"""Sources whose files may change under the same name."""


def profile_model(
    model: ModelSpec | str | nn.Module,
    *,
    example_inputs: Any = (),
    example_kwargs: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int | None = None,
    refresh: bool = False,
    analytic: str | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Measure a model's operations on this machine, in a process of its own with ``threads`` threads (default 1).

    ``model`` is a spec, a name as on the command line, or any ``nn.Module`` in eval mode with the positional
    ``example_inputs`` (a tuple, or the one input) and keyword ``example_kwargs`` of a call: a module is exported
    and saved in the cache, where the ranks of a plan find it.
    ``analytic`` names a device (see ``partkit.profilers.nominal``) for which the times are computed instead,
    without weights and without the device. Kept in the cache for sources that cannot change; ``refresh``
    measures again. Raises :class:`UsageError` for a device without known figures.
    """
    tell = progress or silent
    spec = _spec_of(model, example_inputs, example_kwargs)
    if analytic is not None:
        return _analytic_profile(spec, nominal_device(analytic), tell)
    job = Job(executor="profile", model=spec, device=resolve_device(device), threads=threads or 1, allow_code=True)
    key = _profile_key(job)
    if key is not None and not refresh:
        known = find_kept(Profile, key)
        if known is not None:
            return known
    tell(f"Profiling {spec.source}", 0, 1)
    with WorkerGroup(job) as group, tempfile.TemporaryDirectory(prefix="partkit-") as folder:
        path = Path(folder) / "profile.json"
        group.call("prepare")
        group.call("profile", path=str(path))
        profile = Profile.load(path)
    tell(f"Profiling {spec.source}", 1, 1)
    keep_profile(profile)
    if key is not None:
        profile.save(kept_path(key))
    return profile


def _spec_of(model: ModelSpec | str | nn.Module, inputs: Any, kwargs: Mapping[str, Any] | None) -> ModelSpec:
    if isinstance(model, nn.Module):
        args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        return archive_module(model, args, kwargs or {}, kept_path("modules"))
    if kwargs or not isinstance(inputs, tuple) or inputs:
        raise UsageError("example inputs are for an nn.Module", hint="a named model has its own: leave them out")
    return parse_model(model) if isinstance(model, str) else model


def _analytic_profile(spec: ModelSpec, device: NominalDevice, tell: Progress) -> Profile:
    """Computed in this process: capture and shapes need no device and no weights, and take seconds."""
    tell(f"Capturing {spec.source}", 0, 1)
    begin = time.perf_counter()
    captured = capture(load_model(spec))
    captured_at = time.perf_counter()
    times = analytic_times(captured, device)
    profile = assemble(
        captured,
        times,
        device=ProfiledDevice(type=device.type, name=device.label),
        method="analytic",
        provenance={
            "figures": device.model_dump(mode="json"),
            "capture_s": round(captured_at - begin, 3),
            "profile_s": round(time.perf_counter() - captured_at, 3),
            **describe_environment(),
        },
    )
    tell(f"Capturing {spec.source}", 1, 1)
    keep_profile(profile)
    return profile


def machine_cluster(
    num_devices: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Cluster:
    """This machine's devices and links, measured by a short ping-pong between ranks and kept in the cache.

    On the CPU a device is ``threads`` threads (default 1), and all share the cores. Where more CUDA devices
    are asked for than there are, the rest are taken to be like the first: such a plan is for elsewhere.
    """
    kind, num_threads = resolve_device(device), threads or 1
    found = max(num_cuda_devices(), 1) if kind == "cuda" else 2
    versions = [_version("torch"), _version("partkit")]
    settings = {name: value for name, value in os.environ.items() if name.startswith("NCCL_")}
    key = "cluster-" + digest([socket.gethostname(), kind, found, num_threads, versions, settings])[:24] + ".json"
    measured = None if refresh else find_kept(Cluster, key)
    if measured is None:
        (progress or silent)("Measuring links", 0, 1)
        measured = _measure_links(kind, found, num_threads)
        measured.save(kept_path(key))
        (progress or silent)("Measuring links", 1, 1)
    return _sized(measured, num_devices)


# --- links --------------------------------------------------------------------------------------------------


def _measure_links(kind: DeviceType, count: int, threads: int) -> Cluster:
    provenance: dict[str, Any] = {"host": socket.gethostname(), "threads": threads}
    job = Job(executor="links", model=ModelSpec(), device=kind, devices=tuple(range(count)), threads=threads)
    with WorkerGroup(job) as group:
        replies = group.call("links")
    links = _fit(replies[0]["seconds"] if count == 2 else _joined(replies), count)
    typical = _typical(links)
    if kind == "cpu":
        memory = host_memory_bytes()
        return Cluster(
            name="this machine",
            devices=(Device(name="cpu0", type="cpu", memory_bytes=memory),),
            link=typical,
            overlap=False,
            shared_cores=num_cores() / threads,
            provenance=provenance,
        )
    devices = tuple(
        Device(name=f"gpu{index}", type="cuda", memory_bytes=reply["memory_bytes"])
        for index, reply in enumerate(replies)
    )
    provenance["devices"] = [reply["name"] for reply in replies]
    return Cluster(name="this machine", devices=devices, link=typical, links=tuple(links), provenance=provenance)


def _joined(replies: list[dict[str, Any]]) -> dict[str, list[float]]:
    joined: dict[str, list[float]] = {}
    for reply in replies:
        joined |= reply["seconds"]
    return joined


def _fit(seconds_by_pair: dict[str, list[float]], count: int) -> list[PairLink]:
    links = []
    for source, target in itertools.permutations(range(count), 2):
        low, high = sorted((source, target))
        latency_s, bytes_per_s = fit_link(seconds_by_pair[f"{low}-{high}"])
        links.append(PairLink(source=source, target=target, latency_s=latency_s, bytes_per_s=bytes_per_s))
    return links


def _typical(links: list[PairLink]) -> Link:
    """The median link; one device alone never sends, so any link will do."""
    if not links:
        return Link(bytes_per_s=1e9, latency_s=0.0)
    return Link(
        bytes_per_s=statistics.median(link.bytes_per_s for link in links),
        latency_s=statistics.median(link.latency_s for link in links),
    )


def _sized(measured: Cluster, num_devices: int) -> Cluster:
    """The measured cluster with at least ``num_devices`` devices (on the CPU: exactly that many)."""
    first = measured.devices[0]
    if first.type == "cpu":
        share = None if first.memory_bytes is None else first.memory_bytes // num_devices
        devices = tuple(Device(name=f"cpu{index}", memory_bytes=share) for index in range(num_devices))
        return measured.model_copy(update={"devices": devices})
    missing = range(len(measured.devices), num_devices)
    if not missing:
        return measured
    assumed = tuple(first.model_copy(update={"name": f"gpu{index}"}) for index in missing)
    provenance = measured.provenance | {"assumed_devices": len(missing)}
    return measured.model_copy(update={"devices": measured.devices + assumed, "provenance": provenance})


# --- cache --------------------------------------------------------------------------------------------------


def _profile_key(job: Job) -> str | None:
    if job.model.source.startswith(_UNCACHED):
        return None
    versions = [_version(package) for package in ("torch", "transformers", "timm", "partkit")]
    data = [job.model.model_dump(mode="json"), job.device, job.threads, socket.gethostname(), versions]
    return f"key-{digest(data)[:24]}.json"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
