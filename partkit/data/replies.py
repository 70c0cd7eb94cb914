"""What ranks answer to orders, one record for each; see :mod:`partkit.data.orders` for the order that asks for it."""

from __future__ import annotations

from typing import Any

from partkit.data.document import Record
from partkit.data.examination import ExaminedDevice
from partkit.data.gauges import Gauge
from partkit.data.generate import Written
from partkit.data.timeline import Event

ItemTimes = tuple[tuple[int, float], ...]
"""Items with a time of ``time.perf_counter()`` each, one clock for all ranks of a host."""


class Done(Record):
    """The order was carried out, and there is nothing to tell."""


class Loaded(Record):
    """The executor is ready on this rank."""

    load_s: float
    weight_bytes: int = 0
    """Of weights that partkit brought to GPUs; 0 where the executor's library does."""
    weights_s: float = 0.0
    """Seconds in which those were read or made, and copied."""
    is_data_parallel: bool
    """True where each rank runs items of its own, so that rates add up over ranks."""
    items_at_once: int
    """Items that one launch takes; a check of outputs must fill a launch."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the executor decided by itself."""


class ReferenceWritten(Record):
    """The reference outputs are in their file."""

    num_tensors: int


class CastError(Record):
    """A cast model's outputs beside the uncast model's."""

    max_abs_diff: float
    share: float
    """The same over the largest magnitude of the output that it is in, the worst of all outputs."""


class OutputDifference(Record):
    """A rank's outputs beside the reference's."""

    max_abs_diff: float | None
    """None where it is infinite or no number."""
    max_abs: float
    """Largest finite magnitude of the reference, which the allowed difference grows with."""
    matches: bool
    """True where every output has its counterpart of the same shape and kind, and the difference is finite."""
    what: str | None = None
    """What cannot be compared or is furthest off: which output, how many of its elements, the first of them."""
    not_finite: tuple[str, ...] = ()
    """Outputs of the reference without any finite number."""
    has_finite: bool = True
    """False where the reference has no other outputs."""
    cast_error: CastError | None = None
    """None where the reference is of the model as its author wrote it, or was not compared with that."""


class OutputsChecked(Record):
    """A check of outputs, as one rank saw it."""

    difference: OutputDifference | None
    """None on a rank that returns no outputs."""


class FillingTimed(Record):
    """Seconds from one batch's end to the next one's, for each pair that was asked for."""

    seconds: tuple[float, ...]


class StageSeconds(Record):
    """Seconds of one item's computation, measured now, for each place that the rank hosts."""

    seconds_by_place: dict[int, float]


class TextWritten(Record):
    """The prompts were continued."""

    written: tuple[Written, ...] = ()
    """In the prompts' order, of the rank of the first stage; empty on the others."""
    seconds: float
    uses: tuple[DeviceUse, ...] = ()


class DeviceUse(Record):
    """Use of one of the rank's devices during a run; figures of NVML are None where it saw nothing."""

    device: str
    """``cpu``, or ``cuda:`` and its index."""
    gpu_util_mean: float | None = None
    gpu_util_max: float | None = None
    throttled_by: tuple[str, ...] = ()
    """What held the GPU's clocks back, as NVML names it."""
    gpu_util_over_time: tuple[float, ...] = ()
    """Means of equal stretches of the run."""
    peak_bytes: int


class ItemsRun(Record):
    """A timed run, as one rank saw it."""

    begin: float
    """``time.perf_counter()`` with every device idle, as at ``end``."""
    end: float
    busy: float
    """Share of the run in which the rank computed."""
    num_finished: int
    """Items whose outputs this rank returned."""
    steady_per_s: float | None
    """Items per second once the pipeline is full; None for too few of them."""
    uses: tuple[DeviceUse, ...]
    host_peak_bytes: int
    entered_at: ItemTimes = ()
    """Told of items one at a time and of items that arrive at a rate, as is ``finished_at``."""
    finished_at: ItemTimes = ()
    sample: OutputDifference | None = None
    """Of the sample of outputs that was to be compared; None where there is none on this rank."""
    events: tuple[Event, ...] = ()
    """Of a recorded run, since ``begin``."""


class Profiled(Record):
    """The profile is in its file."""

    num_nodes: int
    gauges: tuple[Gauge, ...] = ()
    """What tells later whether the profile still holds."""


class GaugesTimed(Record):
    """Seconds of each gauge, timed now; None where memory was lacking."""

    seconds: tuple[float | None, ...]


class LinkTimes(Record):
    """One link between two ranks, measured."""

    ranks: tuple[int, int]
    """The lower one first."""
    one_way_s: tuple[float, ...]
    """Seconds for each of :data:`partkit.transport.probe.SIZES_BYTES`."""


class LinksMeasured(Record):
    """The links of one rank, and the device that it has."""

    links: tuple[LinkTimes, ...]
    device_name: str
    memory_bytes: int | None
    """The device's; None on the CPU."""


class DeviceExamined(Record):
    """A rank's device, and the others that it can copy to at once."""

    device: ExaminedDevice
    peers: tuple[int, ...] = ()
    """Indexes of the job's other devices whose memory this one reaches."""


class PathTimes(Record):
    """One link between two ranks over one path, measured, and each byte of it looked at, as one end saw it."""

    ranks: tuple[int, int]
    """The lower one first."""
    one_way_s: tuple[float, ...]
    """Seconds for each of :data:`partkit.transport.probe.SIZES_BYTES`."""
    verified_bytes: int
    changed_bytes: int
    """Of those that came to this end."""


class LinksExamined(Record):
    """The links of one rank over one path."""

    links: tuple[PathTimes, ...]


class EnvironmentDescribed(Record):
    """Host, versions and command: what a result must be read with."""

    environment: dict[str, Any]


Reply = (
    Done
    | Loaded
    | ReferenceWritten
    | OutputsChecked
    | StageSeconds
    | FillingTimed
    | TextWritten
    | ItemsRun
    | Profiled
    | GaugesTimed
    | LinksMeasured
    | DeviceExamined
    | LinksExamined
    | EnvironmentDescribed
)
