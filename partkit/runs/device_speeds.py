"""How fast each kind of device is at this model: profiled where the devices are there, not read off a data sheet."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from partkit.data.cluster import Cluster, Device
from partkit.data.profile import Profile
from partkit.data.progress import Progress
from partkit.errors import MachineError
from partkit.machine.devices import num_cuda_devices
from partkit.runs.profile_model import profile_model


def differs(cluster: Cluster) -> bool:
    """Whether devices of this machine are plainly of several kinds: CPU threads, or names of GPUs."""
    return len({_kind_of(cluster, index) for index in range(len(cluster.devices))}) > 1


def with_measured_speeds(
    profile: Profile, cluster: Cluster, *, each: bool = False, progress: Progress | None = None
) -> Cluster:
    """``cluster`` with the ``speed`` of every device as this model finds it, the profile's own device being 1.

    One device of each kind is profiled, or, with ``each``, every GPU by itself: others may use some of them. What a
    speed hides, that kinds differ more at one operation than at another, is corrected by ``plan --measure``, which
    times each stage on its own device. Raises :class:`MachineError` for GPUs that this machine has not.
    """
    base_s = _seconds(profile)
    is_anew = each and profile.device.type == "cuda"
    seconds: dict[Hashable, float] = {} if is_anew else {_kind_of_profile(profile): base_s}
    devices: list[Device] = []
    for index, device in enumerate(cluster.devices):
        kind = (device.type, index) if each and device.type == "cuda" else _kind_of(cluster, index)
        if kind not in seconds:
            seconds[kind] = _seconds(_profile_on(profile, device, index, progress))
        devices.append(device.model_copy(update={"speed": base_s / seconds[kind]}))
    told = {device.name: round(device.speed, 4) for device in devices}
    provenance = cluster.provenance | {"measured_speeds": told}
    return cluster.model_copy(update={"devices": tuple(devices), "provenance": provenance})


def _profile_on(profile: Profile, device: Device, index: int, progress: Progress | None) -> Profile:
    if device.type == "cuda" and index >= num_cuda_devices():
        raise MachineError(
            f"device {index} ({device.name}) cannot be profiled: this machine has {num_cuda_devices()} CUDA devices",
            hint="give its speed in the cluster file",
        )
    spec = profile.model.model_copy(update={"inputs": (), "structure_sha256": None})
    on_cpu = device.type == "cpu"
    return profile_model(
        spec,
        device=device.type,
        threads=device.threads if on_cpu else None,
        device_index=0 if on_cpu else index,
        refresh=not on_cpu,  # what a card is capable of now, beside whoever uses it
        progress=progress,
    )


def _seconds(profile: Profile) -> float:
    return profile.calibration.scale * sum(node.time_s for node in profile.nodes)


def _kind_of(cluster: Cluster, index: int) -> Hashable:
    device = cluster.devices[index]
    if device.type == "cpu":
        return "cpu", device.threads or _threads_of(cluster)
    names: Sequence[str] = cluster.provenance.get("devices", ())
    return "cuda", names[index] if index < len(names) else names[0] if names else ""


def _threads_of(cluster: Cluster) -> int:
    threads = cluster.provenance.get("threads", 1)
    return threads if isinstance(threads, int) else 1


def _kind_of_profile(profile: Profile) -> Hashable:
    if profile.device.type == "cpu":
        return "cpu", profile.device.num_threads or 1
    return "cuda", profile.device.name
