"""What can be said against a command within half a second: options, files and devices, before any work; no torch."""

from __future__ import annotations

from pathlib import Path

from partkit.errors import InfeasibleError, UsageError
from partkit_cli.options import DeviceChoice, MachineOptions, PlanOptions
from partkit_cli.output import Output

PLANS = Path("plans")
"""Where plans are written unless -o says."""


def require_machine(machine: MachineOptions) -> None:
    """Raise where CUDA is asked for and this machine plainly has none, and for a ``--memory`` that is no size."""
    from partkit.machine.devices import plainly_without_cuda, resolve_device

    _ = machine.memory_bytes
    if machine.device is DeviceChoice.CUDA and plainly_without_cuda():
        resolve_device(machine.device.value)


def require_plannable(
    planning: PlanOptions,
    machine: MachineOptions,
    *,
    folder: Path | None = PLANS,
    analytic: str | None = None,
) -> None:
    """Raise for what is wrong with how a model is to be planned; ``folder`` is where the plan goes without ``-o``."""
    from partkit.data.writing import require_folder

    planning.require_readable()
    require_machine(machine)
    _require_lanes(planning, machine, is_here=planning.cluster is None and analytic is None)
    if folder is not None:
        require_folder(folder)
    if analytic is not None:
        from partkit.profilers.nominal import nominal_device

        device = nominal_device(analytic)
        if planning.cluster is None:
            require_cluster_where_analytic(device.type, device.label)
    if planning.cluster is not None:
        _require_cluster(planning, planning.cluster)


def _require_lanes(planning: PlanOptions, machine: MachineOptions, *, is_here: bool) -> None:
    """Raise for lanes on the CPU; ``is_here``: the plan is for this machine."""
    from partkit.machine.devices import plainly_without_cuda

    is_cpu = machine.device is DeviceChoice.CPU or (is_here and plainly_without_cuda())
    if (planning.num_lanes or 1) > 1 and is_cpu:
        raise UsageError(
            f"--lanes {planning.lanes} is for GPUs: a CPU computes one item at a time",
            hint="leave it out, or plan for GPUs with --analytic and --cluster",
        )


def require_cluster_where_analytic(device_type: str, name: str) -> None:
    """An analytic profile may be of devices that this machine lacks, whose links cannot be measured here."""
    from partkit.data.builtin_clusters import builtin_cluster_names
    from partkit.machine.devices import num_cuda_devices

    if device_type == "cuda" and num_cuda_devices() == 0:
        raise UsageError(
            f"the profile is of {name}, and this machine has no CUDA device whose links could be measured",
            hint=f"add --cluster with a file or one of {', '.join(builtin_cluster_names())}",
        )


def require_format(style: str | None, output: Output, *, graphs: tuple[str, ...] = ()) -> None:
    """Raise for an unknown ``--format``, and for one beside ``--json``; ``graphs`` are forms that are no renderer's."""
    from partkit.reports import require_form

    if style is None:
        return
    if style not in graphs:
        require_form(style, others=graphs)
    if output.as_json and style != "json":
        raise UsageError(f"--json and --format {style} ask for two forms of the same", hint="leave one of them out")


def require_memory_of_use(machine: MachineOptions, *, file: str | None = None, analytic: str | None = None) -> None:
    """Raise for ``--memory`` where nothing is profiled: a ``file`` has the profile, an analytic one is computed."""
    if machine.memory is None:
        return
    if file is not None:
        raise UsageError(
            f"--memory cannot change the profile in {file}", hint="leave it out, or name the model instead of the file"
        )
    if analytic is not None:
        raise UsageError(
            f"--memory has no effect with --analytic {analytic}, which loads nothing", hint="leave one of them out"
        )


def _require_cluster(planning: PlanOptions, name: str) -> None:
    from partkit.data.builtin_clusters import load_cluster

    cluster = load_cluster(name)
    planning.caps_bytes(cluster)
    asked, found = planning.num_stages, len(cluster.devices)
    if asked is not None and asked > found:
        raise InfeasibleError(
            f"{asked} stages need {asked} devices and the cluster has {found}",
            hint=f"ask for at most {found} stages or name a larger cluster",
        )
