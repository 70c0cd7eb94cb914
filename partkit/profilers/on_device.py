"""A captured model, measured on a device of this process -> its Profile."""

from __future__ import annotations

import contextlib

import torch

from partkit.data.profile import Profile, ProfiledDevice
from partkit.machine.clock import settle
from partkit.machine.environment import describe_environment
from partkit.models.capture import Capture
from partkit.models.of_job import item_inputs, runnable, tensor_reader
from partkit.models.sources.loaded import LoadedModel
from partkit.profilers.assemble import assemble
from partkit.profilers.measured import measure_nodes
from partkit.stages.cut import uncut
from partkit.stages.materialise import materialise


def profile_on(device: torch.device, loaded: LoadedModel, captured: Capture, *, threads: int) -> Profile:
    """Measure every node, in the mode that the model's spec asks for; ``threads`` are this process's, on the CPU.

    On CUDA all of it is on one stream, as in a rank: kernels launched on two streams of a process slow each later one
    by 0.2 µs on H100, a tenth of a short stage (pytorch#161104).
    """
    on_cuda, environment = device.type == "cuda", describe_environment()
    with torch.cuda.stream(torch.cuda.Stream(device)) if on_cuda else contextlib.nullcontext():
        module = materialise(uncut(captured), captured, tensor_reader(loaded, captured), device)
        inputs = [tensor.to(device) for tensor in item_inputs(captured.spec, 0, 1)]
        measured = measure_nodes(module, inputs, as_run=runnable(module, loaded.spec))
        settle(device)
    name = torch.cuda.get_device_name(device) if on_cuda else environment["cpu"]
    return assemble(
        captured,
        measured.time_s_by_node,
        device=ProfiledDevice(type=device.type, name=name, num_threads=None if on_cuda else threads),
        method="measured",
        scale=measured.scale,
        provenance=environment,
    )
