"""A model's profile: measured by a rank of this machine and kept in the cache, or computed from published figures."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from partkit.data.cache import cache_folder, find_kept, keep, keep_profile
from partkit.data.device_calibration import DeviceCalibration, told_calibration
from partkit.data.gauges import Gauges
from partkit.data.job import ProfileJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CaptureModel, ProfileModel
from partkit.data.profile import Profile, ProfiledDevice
from partkit.data.progress import Progress, ProgressFile, silent
from partkit.errors import UsageError
from partkit.machine.devices import resolve_device
from partkit.machine.environment import describe_environment, package_version
from partkit.models.archive import archive_module
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.models.weights import ModuleWeights
from partkit.profilers.analytic import analytic_times
from partkit.profilers.assemble import assemble
from partkit.profilers.nominal import NominalDevice, calibration_for, nominal_device
from partkit.ranks.drawn_inputs import with_fitting_inputs
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import own_folder
from partkit.runs.kept_profile import check_kept, load_now

_UNCACHED = ("py:", "pt2:", "hf:")
"""Sources whose files may change under the same name."""


def profile_model(
    model: ModelSpec | str | nn.Module,
    *,
    example_inputs: Any = (),
    example_kwargs: Mapping[str, Any] | None = None,
    dynamic: Sequence[str] | Mapping[str, Mapping[int, str]] = (),
    device: str = "auto",
    threads: int | None = None,
    refresh: bool = False,
    analytic: str | None = None,
    memory_bytes: int | None = None,
    device_index: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """Measure a model's operations on this machine, in a process of its own with ``threads`` threads (default 1).

    ``model`` is a spec, a name as on the command line, or any ``nn.Module`` in eval mode with the positional
    ``example_inputs`` (a tuple, or the one input) and keyword ``example_kwargs`` of a call: a module is exported
    and saved in the cache, where the ranks of a plan find it. ``dynamic`` says which sizes may vary, from 1 to those
    of the example: ``("batch", "seq")`` as on the command line, or by input and dimension,
    ``{"tokens": {0: "batch", 1: "length"}}``.
    ``analytic`` names a device (see ``partkit.profilers.nominal``) for which the times are computed instead,
    without weights and without the device. Kept in the cache for sources that cannot change, and used for as long as
    its heaviest operations, timed again first, take about as long as they did (:mod:`partkit.runs.kept_profile`);
    ``refresh`` measures again. No more than ``memory_bytes`` of weights and values are on the device at once (default:
    what is free): a model that needs more is measured in parts. ``device_index`` is the GPU to measure on. Raises
    :class:`UsageError` for a device without known figures, :class:`InfeasibleError` where a part of the model that
    stays together needs more memory.
    """
    tell = progress or silent
    spec = _spec_of(model, example_inputs, example_kwargs, _dynamic_texts(dynamic))
    if analytic is not None:
        return _analytic_profile(spec, nominal_device(analytic), calibration_for(analytic), tell)
    job = ProfileJob(
        model=spec,
        device=resolve_device(device),
        devices=(device_index,),
        threads=threads or 1,
        allow_code=True,
        memory_bytes=memory_bytes,
    )
    request = _request(job)
    kept = None if request is None or refresh else find_kept(Profile, request)
    with RankGroup(job) as group:
        if request is not None and kept is not None and _is_of(kept, spec):
            verdict = check_kept(kept, find_kept(Gauges, request), group, tell)
            tell(verdict.words, 0, 0)
            if verdict.holds:
                return kept
        profile, gauges = _measured_profile(group, tell)
    keep_profile(profile)
    if request is not None:
        keep(profile, request)
        keep(gauges, request)
    return profile


def _measured_profile(group: RankGroup[ProfileJob], tell: Progress) -> tuple[Profile, Gauges]:
    tell(f"Capturing {group.job.model.source}", 0, 0)
    when = {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "load": load_now()}
    with own_folder() as folder:
        path, progress = folder / "profile.json", ProgressFile(folder / "progress")
        group.call(CaptureModel())

        def tell_nodes() -> None:
            done, total = progress.read() or (0, 0)
            tell("Profiling nodes", done, total)

        tell_nodes()
        order = ProfileModel(path=str(path), progress=f"{folder}/progress")
        (told,) = group.call(order, while_waiting=tell_nodes)
        tell("Profiling nodes", told.num_nodes, told.num_nodes)
        profile = Profile.load(path)
    return profile.model_copy(update={"provenance": {**profile.provenance, **when}}), Gauges(gauges=told.gauges)


def _dynamic_texts(dynamic: Sequence[str] | Mapping[str, Mapping[int, str]]) -> tuple[str, ...]:
    if isinstance(dynamic, Mapping):
        named = [(name, place, label) for name, labels in dynamic.items() for place, label in labels.items()]
        return tuple(f"{name}.{place}={label}" for name, place, label in named)
    return (dynamic,) if isinstance(dynamic, str) else tuple(dynamic)


def _spec_of(
    model: ModelSpec | str | nn.Module, inputs: Any, kwargs: Mapping[str, Any] | None, dynamic: tuple[str, ...]
) -> ModelSpec:
    if isinstance(model, nn.Module):
        args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        return archive_module(model, args, kwargs or {}, cache_folder("modules"), dynamic=dynamic)
    if kwargs or not isinstance(inputs, tuple) or inputs:
        raise UsageError("example inputs are for an nn.Module", hint="a named model has its own: leave them out")
    if dynamic and isinstance(model, ModelSpec):
        raise UsageError("a spec says itself which sizes vary", hint="give dynamic to parse_model instead")
    return parse_model(model, dynamic=dynamic) if isinstance(model, str) else model


def _analytic_profile(
    spec: ModelSpec, device: NominalDevice, calibration: DeviceCalibration | None, tell: Progress
) -> Profile:
    """Computed in this process: capture and shapes need no device and no weights, and take seconds."""
    tell(f"Capturing {spec.source}", 0, 0)
    begin = time.perf_counter()
    loaded = load_model(spec)
    captured = capture(loaded)
    captured_at = time.perf_counter()
    times = analytic_times(captured, device, calibration)
    if calibration is not None:
        tell(f"Using the calibration of {calibration.device}", 0, 0)
    profile = assemble(
        captured,
        times,
        device=ProfiledDevice(type=device.type, name=device.label),
        method="analytic",
        provenance={
            "figures": device.model_dump(mode="json"),
            **({} if calibration is None else {"calibration": told_calibration(calibration)}),
            "capture_s": round(captured_at - begin, 3),
            "profile_s": round(time.perf_counter() - captured_at, 3),
            **describe_environment(),
        },
    )
    if isinstance(loaded.weights, ModuleWeights):  # the others have none yet, and computed times need none
        profile = profile.model_copy(update={"model": with_fitting_inputs(loaded, captured, torch.device("cpu"))})
    keep_profile(profile)
    return profile


def _request(job: ProfileJob) -> dict[str, Any] | None:
    """What a measured profile depends on; None for sources whose files may change."""
    if job.model.source.startswith(_UNCACHED):
        return None
    return {
        "model": job.model.model_dump(mode="json"),
        "device": job.device,
        "threads": job.threads,
        "host": socket.gethostname(),
        "versions": [package_version(package) for package in ("torch", "transformers", "timm", "partkit")],
        **({} if job.memory_bytes is None else {"memory_bytes": job.memory_bytes}),
        **({} if job.devices == (0,) else {"device_index": job.devices[0]}),
    }


def _is_of(profile: Profile, spec: ModelSpec) -> bool:
    """True for a profile of the model that was asked for: the spec, less what loading and capture resolve."""
    found = profile.model.model_copy(update={"inputs": (), "structure_sha256": None})
    return found == spec.model_copy(update={"inputs": (), "structure_sha256": None})
