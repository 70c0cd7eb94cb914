"""A captured model, measured on a device of this process -> its Profile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from partkit.data.gauges import Gauge
from partkit.data.profile import Profile, ProfiledDevice
from partkit.machine.clock import settle
from partkit.machine.environment import describe_environment
from partkit.machine.memory import free_bytes
from partkit.models.capture import Capture
from partkit.models.of_job import item_inputs, runnable, tensor_reader
from partkit.models.sources.loaded import LoadedModel
from partkit.profilers.assemble import assemble
from partkit.profilers.gauges import Operations, time_gauges
from partkit.profilers.measured import NodeTimer
from partkit.profilers.memory import workspace_bytes
from partkit.stages.windows import make_windows, run_windows


def profile_on(
    device: torch.device,
    loaded: LoadedModel,
    captured: Capture,
    *,
    threads: int,
    memory_bytes: int | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[Profile, tuple[Gauge, ...]]:
    """Measure every node, in the mode that the model's spec asks for; ``threads`` are this process's, on the CPU.

    Beside the profile come gauges, which tell later whether it still holds.

    No more than ``memory_bytes`` of weights and values are on the device at once (None: what is free): a model that
    needs more is measured in windows, one after the other. Raises :class:`InfeasibleError` where a part of it that
    stays together needs more.

    On CUDA all of it is on one stream, as in a rank: kernels launched on two streams of a process slow each later one
    by 0.2 µs on H100, a tenth of a short stage (pytorch#161104). ``tell`` hears how many nodes are done, of how many.
    """
    on_cuda, environment = device.type == "cuda", describe_environment()
    operations = Operations()
    with _one_stream(device):
        windows = make_windows(captured, free_bytes(device) if memory_bytes is None else memory_bytes)
        timer = NodeTimer(
            device,
            num_windows=len(windows),
            num_nodes=_num_operations(captured),
            tell=tell,
            meet=operations.meet,
        )
        names = [each.name for each in captured.spec.inputs]
        item = dict(zip(names, item_inputs(captured.spec, 0, 1, loaded), strict=True))

        workspace = [0]

        def measure(module: fx.GraphModule, inputs: list[torch.Tensor]) -> None:
            workspace.append(workspace_bytes(module, inputs) if on_cuda else 0)
            timer.measure(module, inputs, as_run=runnable(module, loaded.spec))

        run_windows(windows, captured, tensor_reader(loaded, captured), device, [item], visit=measure)
        measured = timer.measurement()
        gauges = operations.gauges(measured.time_s_by_node, device)
        settle(device)
    name = torch.cuda.get_device_name(device) if on_cuda else environment["cpu"]
    profile = assemble(
        captured,
        measured.time_s_by_node,
        device=ProfiledDevice(type=device.type, name=name, num_threads=None if on_cuda else threads),
        method="measured",
        scale=measured.scale,
        workspace_bytes=max(workspace),
        provenance=environment if len(windows) == 1 else {"windows": len(windows), **environment},
    )
    return profile, gauges


def gauges_on(device: torch.device, gauges: Sequence[Gauge]) -> list[float | None]:
    """Seconds of each gauge alone on a device, timed as when they were made; None where it finds no memory."""
    with _one_stream(device):
        return time_gauges(gauges, device)


def _one_stream(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else contextlib.nullcontext()


def _num_operations(captured: Capture) -> int:
    return sum(node.op == "call_function" for node in captured.graph.nodes)
