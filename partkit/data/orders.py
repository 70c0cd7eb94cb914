"""What a parent may order its ranks to do, one record for each order, which names the reply that it asks for.

group of a RunJob        Load . WriteReference | CheckOutputs . TimeStages . RunItems ...
                         Load . OpenStream . ServeStream                     a program's own items
                         Load . WriteText ...                                of a plan that writes text
group of a ProfileJob    TimeGauges | CaptureModel . ProfileModel
group of a LinksJob      MeasureLinks | ExamineDevice . ExamineLinks ...
any                      DescribeEnvironment, and at the end Stop
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from pydantic import Field, TypeAdapter

from partkit.data.document import Record
from partkit.data.examination import LinkPath
from partkit.data.gauges import Gauge
from partkit.data.generate import Prompt, Sampling
from partkit.data.replies import (
    DeviceExamined,
    Done,
    EnvironmentDescribed,
    FillingTimed,
    GaugesTimed,
    ItemsRun,
    LinksExamined,
    LinksMeasured,
    Loaded,
    OutputsChecked,
    Profiled,
    ReferenceWritten,
    StageSeconds,
    TextWritten,
)

ReplyT = TypeVar("ReplyT", bound=Record)


class Order(Record, Generic[ReplyT]):
    """Something that every rank of a group does and answers with a ``ReplyT``."""

    def read_reply(self, text: str | bytes) -> ReplyT:
        """A rank's answer to this order, from JSON."""
        parametrised: Any = type(self).__mro__[1]  # Order[Loaded], say
        reply: type[ReplyT] = parametrised.__pydantic_generic_metadata__["args"][0]
        return reply.model_validate_json(text)


class Load(Order[Loaded]):
    """Build the executor's part and its weights."""

    order: Literal["load"] = "load"
    progress: str = ""
    """Beginning of the names of new files, one a rank, that tell the bytes of weights which are there; none: empty."""


class WriteReference(Order[ReferenceWritten]):
    """Run the first items and write their outputs, for other groups to check theirs against."""

    order: Literal["reference"] = "reference"
    num_items: int
    path: str


class CopyReference(Order[Done]):
    """Take the reference's file from rank 0, whose host has it, to a folder of the rank's own host."""

    order: Literal["copy"] = "copy"
    reference: str


class CheckOutputs(Order[OutputsChecked]):
    """Run the first items and compare their outputs with the reference in a file."""

    order: Literal["check"] = "check"
    num_items: int
    reference: str


class TimeStages(Order[StageSeconds]):
    """Time each stage alone."""

    order: Literal["stage"] = "stage"


class TimeFilling(Order[FillingTimed]):
    """Time the whole model with several batches at once, under an executor of one device."""

    order: Literal["filling"] = "filling"
    pairs: tuple[tuple[int, int], ...]
    """Samples of a batch, and lanes; each at most what the job has."""


class RunItems(Order[ItemsRun]):
    """A timed run."""

    order: Literal["run"] = "run"
    num_items: int
    one_at_a_time: bool = False
    rate_per_s: float | None = None
    """Items that arrive per second, at random times; None: each as soon as there is room for it."""
    sample: tuple[int, ...] = ()
    """Items whose outputs are compared with the reference's."""
    reference: str | None = None
    records: bool = False
    """Tell when each place waited and computed."""


class OpenStream(Order[Done]):
    """Open the slots of items and outputs and the counts in ``folder``, which goes after this."""

    order: Literal["open_stream"] = "open_stream"
    folder: str
    num_slots: int
    """Items that may be under way at once."""
    num_output_slots: int
    outputs: tuple[str, ...] = ()
    """Names of the outputs that come back; () for all."""


class ServeStream(Order[Done]):
    """Run a program's own items until it announces the end."""

    order: Literal["stream"] = "stream"


class WriteText(Order[TextWritten]):
    """Continue prompts; the first rank answers with what was written."""

    order: Literal["write"] = "write"
    prompts: tuple[Prompt, ...]
    sampling: Sampling = Sampling()
    stops: tuple[int, ...] = ()
    """Tokens that end a sequence."""
    stream: str = ""
    """A new file that tells of tokens as they come, each as two int32: sequence, token; none: empty."""


class CaptureModel(Order[Done]):
    """Capture the model that is to be profiled; the device is not touched yet."""

    order: Literal["prepare"] = "prepare"


class ProfileModel(Order[Profiled]):
    """Measure every node of the captured model and write the profile to a file."""

    order: Literal["profile"] = "profile"
    path: str
    progress: str
    """A file in which the rank tells how many nodes are done."""


class TimeGauges(Order[GaugesTimed]):
    """Time the gauges of a kept profile; needs no model."""

    order: Literal["gauges"] = "gauges"
    gauges: tuple[Gauge, ...]


class MeasureLinks(Order[LinksMeasured]):
    """Ping-pong between every pair of ranks in turn."""

    order: Literal["links"] = "links"


class ExamineDevice(Order[DeviceExamined]):
    """Measure what the rank's device and the host thread beside it can do alone, one rank after another."""

    order: Literal["device"] = "device"


class ExamineLinks(Order[LinksExamined]):
    """Send between every pair of ranks over one path, in turn, and look at every byte that comes."""

    order: Literal["paths"] = "paths"
    path: LinkPath


class DescribeEnvironment(Order[EnvironmentDescribed]):
    """Describe the rank's host and versions."""

    order: Literal["environment"] = "environment"


class Stop(Order[Done]):
    """End; no reply follows."""

    order: Literal["stop"] = "stop"


RunOrder = (
    Load
    | WriteReference
    | CopyReference
    | CheckOutputs
    | TimeStages
    | TimeFilling
    | RunItems
    | OpenStream
    | ServeStream
)
WriteOrder = Load | WriteText
ProfileOrder = CaptureModel | ProfileModel | TimeGauges
LinksOrder = MeasureLinks | ExamineDevice | ExamineLinks
AnyOrder = RunOrder | WriteText | ProfileOrder | LinksOrder | DescribeEnvironment | Stop

_ORDERS: TypeAdapter[AnyOrder] = TypeAdapter(Annotated[AnyOrder, Field(discriminator="order")])


def name_of(order: Order[Any]) -> str:
    """What the order is called in messages and logs."""
    return str(cast("AnyOrder", order).order)


def read_order(text: str | bytes) -> AnyOrder:
    """The order that a parent wrote as JSON."""
    return _ORDERS.validate_json(text)
