"""What all cost models are asked about: one model on one machine, with an objective."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from partkit.data.cluster import Cluster, Device
from partkit.data.document import Record
from partkit.data.plan import Plan
from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile
from partkit.planners.make import make_plan
from partkit.planners.problem.request import Objective, PlanRequest

LAUNCH_S = 30e-6
"""What a host takes to launch an operation of an eager model: 273 of BERT-base took 8.07 ms (benchmarks/compare)."""
_LAYER = re.compile(r"^(.*?\.)?\d+(?=\.|$)")
"""The first numbered part of a module's path: a layer of a stack."""
_PRODUCTS = ("linear", "addmm", "mm.", "matmul", "bmm", "attention")


class Estimate(Record):
    """What a cost model says of its way."""

    executor: str
    devices: int
    samples_per_s: float
    latency_s: float
    peak_bytes: int
    fits: bool
    reason: str


@dataclass(frozen=True)
class Situation:
    """A model's profile, the machine and what is wanted of them."""

    profile: Profile
    cluster: Cluster
    objective: Objective = "throughput"

    @cached_property
    def whole(self) -> Plan:
        """The unsplit model on one device without limits, of speed 1."""
        alone = Device(name="one", type=self.cluster.devices[0].type)
        machine = self.cluster.model_copy(update={"devices": (alone,), "links": (), "shared_cores": None})
        return make_plan(self.profile, machine, PlanRequest(num_stages=1))

    @property
    def seconds(self) -> float:
        """Of one item on a device of speed 1, in one CUDA graph or one thread."""
        return self.whole.stages[0].compute_s

    @property
    def whole_bytes(self) -> int:
        """Weights, values and workspaces of the unsplit model."""
        return self.whole.stages[0].peak_bytes

    @property
    def batch(self) -> int:
        """Samples in an item."""
        return max(1, round(self.whole.prediction.samples_per_s * self.whole.prediction.period_s))

    @property
    def is_cuda(self) -> bool:
        """True where devices are GPUs."""
        return self.cluster.devices[0].type == "cuda"

    def speed(self, index: int) -> float:
        """A device's, by index."""
        return self.cluster.devices[index].speed

    def holds(self, index: int, num_bytes: int) -> bool:
        """Whether a device has so much memory."""
        most = self.cluster.devices[index].memory_bytes
        return most is None or num_bytes <= most

    def slowed(self, num_busy: int) -> float:
        """How many times longer each of ``num_busy`` devices takes, where they share the host's cores."""
        cores = self.cluster.shared_cores
        return 1.0 if cores is None else max(1.0, num_busy / cores)

    def eager_s(self, seconds: float) -> float:
        """Of a model that the host launches operation by operation: no quicker than the host. CPU times hold calls."""
        return max(seconds, num_calls(self.profile.nodes) * LAUNCH_S) if self.is_cuda else seconds

    @cached_property
    def layers(self) -> dict[str, tuple[Node, ...]]:
        """Nodes by numbered layer; the rest under ''."""
        found: dict[str, list[Node]] = {"": []}
        for node in self.profile.nodes:
            match = _LAYER.match(node.module)
            found.setdefault(match[0] if match else "", []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @property
    def num_layers(self) -> int:
        """Numbered layers, which FSDP wraps and tensor parallel plans divide."""
        return len(self.layers) - 1

    def layer_bytes(self, name: str) -> int:
        """Bytes of a layer's parameters."""
        return self.profile.param_bytes_of(self.layers[name])

    @cached_property
    def param_bytes(self) -> int:
        """Bytes of all parameters."""
        return self.profile.param_bytes_of(self.profile.nodes)


def num_calls(nodes: Iterable[Node]) -> int:
    """Operations that a host calls, views among them, which launch nothing and take their time too."""
    return sum(not node.free and node.op not in (INPUT_OP, OUTPUT_OP) for node in nodes)


def is_product(node: Node) -> bool:
    """Whether tensor parallelism divides the node's work: products of matrices, and attention by heads."""
    return any(name in node.op for name in _PRODUCTS)
