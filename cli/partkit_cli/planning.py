"""From what the person typed for MODEL to a profile, a cluster and a plan on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from partkit.data.units import format_count
from partkit.errors import TooFewDevicesError, UsageError
from partkit_cli.checks import PLANS, require_cluster_where_analytic
from partkit_cli.options import MOST_TOGETHER, DeviceChoice, MachineOptions, ModelOptions, PlanOptions, refuse
from partkit_cli.output import Output
from partkit_cli.pins_and_caps import ALL

if TYPE_CHECKING:
    from partkit.data.cluster import Cluster
    from partkit.data.generate import Generate
    from partkit.data.model import ModelSpec
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


IDLE = 1e-3
"""Share of the plan's period below which a stage's own work is not worth a device."""


def is_file(model: str) -> bool:
    """True when MODEL means a JSON file rather than a model to build."""
    return model.endswith(".json") or ("/" in model and ":" not in model and Path(model).is_file())


def profile_of(
    model: str,
    options: ModelOptions,
    machine: MachineOptions,
    output: Output,
    *,
    analytic: str | None = None,
    refresh: bool = False,
    generate: Generate | None = None,
) -> Profile:
    """The profile in a file, or of the model that ``model`` names, measured here or computed for ``analytic``.

    With ``generate`` it is of a step that takes one token of each of a lane's sequences.

    Raises :class:`UsageError` for options that a profile's file has fixed, and what profiling raises.
    """
    if is_file(model):
        from partkit.data.profile import Profile

        if analytic is not None:
            raise UsageError(
                f"--analytic cannot change the profile in {model}", hint="leave it out, or name the model instead"
            )

        if refresh:
            raise UsageError(f"--refresh cannot measure the file {model} anew", hint="leave it out, or name the model")
        refuse(options, model, "profile")
        return Profile.load(model)
    spec = options.spec(model)
    if generate is not None:
        from partkit.data.generate import with_shape

        spec = with_shape(spec, generate.step(1))
    if analytic is None:
        from partkit.ranks.fork_client import prepare

        prepare()  # before what takes seconds to import
    return profile_of_spec(spec, machine, output, analytic=analytic, refresh=refresh)


def profile_of_spec(
    spec: ModelSpec, machine: MachineOptions, output: Output, *, analytic: str | None, refresh: bool
) -> Profile:
    """The profile of a model that was named, as the options want it; raises what profiling raises."""
    from partkit.runs.profile_model import profile_model

    with output.progress() as progress:
        return profile_model(
            spec,
            device=machine.device.value,
            threads=machine.threads,
            analytic=analytic,
            refresh=refresh,
            memory_bytes=machine.memory_bytes,
            progress=progress,
        )


def plan_for(profile: Profile, planning: PlanOptions, machine: MachineOptions, output: Output) -> Plan:
    """A plan of ``profile`` for the cluster that the options name, else for this machine."""
    from partkit.data.cache import keep_profile
    from partkit.planners import plan_as_asked

    cluster = with_own_speeds(profile, cluster_for(profile, planning, machine, output), planning, output)
    filling = _with_filling(profile, planning, machine, output)
    with command_for_enough(planning, cluster), output.waiting(f"Planning {format_count(len(profile.nodes))} nodes"):
        plan = (
            plan_as_asked(profile, cluster, planning.request(cluster))
            if filling is None
            else _plan_filled(filling, cluster, planning)
        )
    if len(plan.cluster.devices) > len(cluster.devices):
        output.warning(f"{plan.planner.detail.rpartition('; ')[2]}: the plan is for those {len(plan.cluster.devices)}")
    keep_profile(profile)
    return with_provenance(plan)


def _with_filling(profile: Profile, planning: PlanOptions, machine: MachineOptions, output: Output) -> Profile | None:
    """The profile with what lanes and batches give here, where a plan needs it and it can be measured; else None."""
    is_measured = profile.method == "measured"
    if planning.chooses_filling and not is_measured and not profile.filling:
        raise UsageError(
            f"lanes and microbatches are chosen by measuring, and the times of {profile.model.source} are "
            f"{profile.method}",
            hint="give --lanes and --microbatch a number, without --max-latency",
        )
    if profile.filling or not (planning.chooses_filling or ((planning.num_lanes or 1) > 1 and is_measured)):
        return profile if profile.filling and planning.chooses_filling else None
    from partkit.ranks.run_options import RunOptions
    from partkit.runs.filling_times import with_filling

    options = RunOptions(
        device=profile.device.type, threads=machine.threads, memory_bytes=machine.memory_bytes, allow_code=True
    )
    with output.progress() as progress:
        return with_filling(profile, lanes=planning.num_lanes, options=options, progress=progress)


def _plan_filled(profile: Profile, cluster: Cluster, planning: PlanOptions) -> Plan:
    from partkit.planners import plan_as_asked
    from partkit.planners.filling import plan_filled

    together = planning.num_together
    varies = "batch" in profile.model.sizes
    samples = max(1, profile.model.batch // (together or MOST_TOGETHER)) if varies else profile.model.batch
    plan = plan_filled(
        profile,
        cluster,
        planning.request(cluster),
        plan_as_asked,
        lanes=planning.num_lanes if profile.device.type == "cuda" else 1,
        microbatch=together,
        samples=samples,
        max_latency_s=planning.max_latency_s,
    )
    return plan if planning.max_delay is None else plan.model_copy(update={"max_delay_s": planning.max_delay_s})


@contextmanager
def command_for_enough(planning: PlanOptions, cluster: Cluster) -> Iterator[None]:
    """Have the refusal of too few devices end with the options that plan for enough of them."""
    try:
        yield
    except TooFewDevicesError as error:
        from partkit.data.builtin_clusters import split_count

        options = [f"--stages {error.num_devices}"]
        if planning.cluster is not None:
            is_enough = error.num_devices <= len(cluster.devices)
            more = f"{split_count(planning.cluster)[0]}:{error.num_devices}"
            options.append(f"--cluster {planning.cluster if is_enough else more}")
        if planning.caps:  # all alike, or no number would have been found
            options.append(f"--cap {ALL}={planning.caps[0].rpartition('=')[2]}")
        hint = f"plan it with '{' '.join(options)}'"
        raise TooFewDevicesError(error.message, num_devices=error.num_devices, hint=hint) from None


def with_provenance(plan: Plan) -> Plan:
    """``plan`` with when, where and by what it was made."""
    from partkit.machine.environment import describe_environment

    created = datetime.now(UTC).isoformat(timespec="seconds")
    return plan.model_copy(update={"provenance": {"created": created, **describe_environment()}})


def writing_plan(
    narrow: Profile,
    generate: Generate,
    planning: PlanOptions,
    machine: MachineOptions,
    output: Output,
    *,
    analytic: str | None,
    refresh: bool,
) -> Plan:
    """A plan that writes text, from the profile of a step of one token; where a mix is asked for, of a chunk too."""
    from partkit.data.generate import with_shape
    from partkit.planners.generation import mixed, predicted

    wide = None
    if generate.is_mixed:
        spec = with_shape(narrow.model, generate.step(generate.chunk))
        wide = profile_of_spec(spec, machine, output, analytic=analytic, refresh=refresh)
    profile = narrow if wide is None else mixed(narrow, wide, generate)
    plan = plan_for(profile, planning, machine, output)
    return plan.model_copy(update={"generate": predicted(plan, generate, narrow, wide)})


def default_path(plan: Plan, num_stages: int | None = None) -> Path:
    """Where a plan is written when nobody says: ``plans/<model><stages>.json``.

    The model's name is its source without the scheme, its folder and a file suffix; the stages are those that were
    asked for, and the plan's own where the planner chose.
    """
    scheme, colon, name = plan.model.source.partition(":")
    if not colon:
        scheme, name = "", plan.model.source
    name = name.rstrip("/")
    if scheme != "py":
        name = name.rpartition("/")[2]
    if scheme == "pt2":
        name = Path(name).stem
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
    return PLANS / f"{name}{num_stages or len(plan.stages)}.json"


def write_plan(plan: Plan, path: Path | None, output: Output, *, num_stages: int | None = None) -> Path:
    """Save ``plan`` at ``path`` or its default place, and say so, and what of ``num_stages`` it does not keep."""
    written = plan.save(path or default_path(plan, num_stages))
    for told in shortfalls(plan, num_stages):
        output.warning(told)
    for told in plan.model.notes:
        output.note(told)
    output.note(f"wrote {written}")
    return written


def shortfalls(plan: Plan, num_stages: int | None) -> list[str]:
    """What a person who asked for ``num_stages`` stages must be told of the plan that was made."""
    found = len(plan.stages)
    if num_stages is None:
        return []
    if found < num_stages:
        reason = plan.planner.detail.rpartition("; ")[2]
        way = "ask for fewer" if "no plan with" in reason else f"add --exact for {num_stages} all the same"
        return [
            f"{num_stages} stages were asked for, and the plan has {found}, which {'is' if found == 1 else 'are'} "
            f"better: {reason}; {way}"
        ]
    idle = [stage for stage in plan.stages if stage.compute_s <= IDLE * plan.prediction.period_s]
    counts = {stage.index: f"{len(stage.nodes)} node{'s' if len(stage.nodes) != 1 else ''}" for stage in idle}
    return [
        f"stage {index} computes next to nothing ({count}): --stages {found - len(idle)} does as well"
        for index, count in counts.items()
    ]


def cluster_for(profile: Profile, planning: PlanOptions, machine: MachineOptions, output: Output) -> Cluster:
    """The cluster that the options name, else this machine with as many devices as the stages may take.

    Raises :class:`UsageError` for an unknown cluster, and where this machine's links cannot stand for the profile's.
    """
    if planning.cluster is not None:
        from partkit.data.builtin_clusters import load_cluster

        return load_cluster(planning.cluster)
    if profile.method == "analytic":
        require_cluster_where_analytic(profile.device.type, profile.device.name)
    device = profile.device.type if machine.device is DeviceChoice.AUTO else machine.device.value
    num_devices = planning.num_stages
    if num_devices is None or planning.max_replicas != 1:
        num_devices = max(_num_devices(device), num_devices or 1)
    from partkit.runs.machine_cluster import machine_cluster

    with output.progress() as progress:
        return machine_cluster(
            num_devices, device=device, threads=machine.threads, margin=planning.margin, progress=progress
        )


def with_own_speeds(profile: Profile, cluster: Cluster, planning: PlanOptions, output: Output) -> Cluster:
    """``cluster`` with speeds that were measured, where its devices differ and are this machine's.

    Speeds that a cluster's file gives are left as they are, and so are all where nothing was measured.
    """
    if profile.method != "measured" or profile.model.is_graph:
        if planning.profile_each:
            raise UsageError("--profile-each needs a model to profile", hint="leave it out, or name the model")
        return cluster
    from partkit.runs.device_speeds import differs, with_measured_speeds

    if not planning.profile_each and (any(each.speed != 1.0 for each in cluster.devices) or not differs(cluster)):
        return cluster
    with output.progress() as progress:
        measured = with_measured_speeds(profile, cluster, each=planning.profile_each, progress=progress)
    speeds = ", ".join(f"{each.name} {each.speed:.3g}" for each in measured.devices)
    output.note(f"speeds measured with this model: {speeds}")
    return measured


def _num_devices(device: str) -> int:
    """Devices of this machine that stages may take: its GPUs, or a CPU's cores."""
    from partkit.machine.devices import num_cores, num_cuda_devices

    return num_cores() if device == "cpu" else max(1, num_cuda_devices())
