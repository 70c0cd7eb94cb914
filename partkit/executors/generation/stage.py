"""One stage's steps over its own caches: a form for each width, weights shared, a cache for each lane.

On CUDA a step of a lane is one CUDA graph: the token that came back put in its place, the stage, and on the last stage
the choice of the next token. What it reads and fills lies in buffers that stay: the lane's block, and the slots of its
edges, slot ``l`` of each being lane ``l``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import fx

from partkit.data.generate import Generate
from partkit.executors.generation.message import block_size, fields_of
from partkit.machine.cuda_graph import NotCapturableError, capture_graph
from partkit.models.capture import Capture
from partkit.models.decoding.choice import draw, greedy
from partkit.models.decoding.state import CACHE
from partkit.stages.cut import StageGraph
from partkit.stages.load_tensors import load_tensors
from partkit.stages.materialise import materialise
from partkit.transport.edge import Receiver, Sender

_WARM_UPS = 3
"""Runs before a capture: libraries set up their workspaces, which no graph can hold."""


class StageSteps:
    """A stage's steps, by lane and width. ``stages`` and ``captures`` are of each width."""

    def __init__(
        self,
        generate: Generate,
        stages: Mapping[int, StageGraph],
        captures: Mapping[int, Capture],
        read: Callable[[str], torch.Tensor],
        device: torch.device,
    ) -> None:
        self._generate, self.stages, self._device = generate, stages, device
        kept = load_tensors(
            [name for width in stages for name in _tensors(stages[width], captures[width])], read, device
        )

        def read_for(lane: int) -> Callable[[str], torch.Tensor]:
            rows = slice(lane * generate.rows, (lane + 1) * generate.rows)
            return lambda name: kept[name][rows] if name.startswith(CACHE) else kept[name]

        self._modules: dict[tuple[int, int], fx.GraphModule] = {
            (lane, width): materialise(stages[width], captures[width], read_for(lane), device)
            for width in stages
            for lane in range(generate.lanes)
        }
        widest = block_size(generate.rows, max(stages))
        self.blocks = [torch.zeros(widest, dtype=torch.int64, device=device) for _ in range(generate.lanes)]
        """What each lane's next step takes from the host."""
        self.chosen: Sequence[torch.Tensor] = [
            torch.zeros(generate.rows, dtype=torch.int64, device=device) for _ in range(generate.lanes)
        ]
        """The token that each row's last step gave, by lane, where tokens enter and where they are chosen."""
        self._graphs: dict[tuple[int, int, bool], torch.cuda.CUDAGraph] = {}
        self.why_no_graph: str | None = None
        """Why steps are in no CUDA graphs; None where they are, and on the CPU."""
        self._receivers: Sequence[Receiver] = ()
        self._senders: Mapping[int, Sender] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def connect(
        self, receivers: Sequence[Receiver], senders: Mapping[int, Sender], chosen: Sequence[torch.Tensor] | None
    ) -> None:
        """Take values from and give them to these edges from now on; ``chosen`` lies in the slots of an edge too."""
        self._receivers, self._senders = receivers, senders
        if chosen is not None:
            self.chosen = chosen

    @property
    def chooses(self) -> bool:
        """Whether this stage makes the logits."""
        return self.stages[1].leaves is not None

    def block(self, lane: int, width: int) -> torch.Tensor:
        """The part of a lane's block that a step of that width reads."""
        return self.blocks[lane][: block_size(self._generate.rows, width)]

    def run(self, lane: int, width: int, *, draws: bool) -> None:
        """Take a step; on CUDA this only queues it, on the current stream."""
        draws = draws and self.chooses
        if (lane, width, draws) in self._graphs:
            self._graphs[lane, width, draws].replay()
        else:
            self._step(lane, width, draws=draws)

    def capture(self, stream: torch.cuda.Stream, *, draws: bool, fit: Callable[[int, int], None]) -> None:
        """Make the CUDA graphs that are not there yet; what is in the caches is spoilt.

        ``fit`` gives a lane's slots the shapes of a width.

        Raises :class:`NotCapturableError` for a stage that CUDA cannot hold in a graph.
        """
        draws = draws and self.chooses
        for lane, width in self._modules:
            if (lane, width, draws) in self._graphs or self.why_no_graph is not None:
                continue
            fit(lane, width)
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    self._step(lane, width, draws=draws)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            step = partial(self._step, lane, width, draws=draws)
            try:
                capture_graph(graph, step, stream=stream, pool=self._pool)
            except NotCapturableError as error:
                self.why_no_graph = str(error)
            else:
                self._graphs[lane, width, draws] = graph

    def release(self) -> None:
        """Drop the CUDA graphs."""
        self._graphs.clear()

    def _step(self, lane: int, width: int, *, draws: bool) -> None:
        stage, fields = self.stages[width], fields_of(self.block(lane, width), self._generate.rows, width)
        given = dict(fields)
        if "tokens" in stage.model_inputs:
            first = torch.where(fields["feeds"] != 0, self.chosen[lane], fields["tokens"][:, 0])
            given["tokens"] = torch.cat((first[:, None], fields["tokens"][:, 1:]), dim=1)
        inputs = [given[name] for name in stage.model_inputs]
        for receiver in self._receivers:
            inputs.extend(receiver.tensors(lane))
        made = dict(zip(stage.gives, self._modules[lane, width](*inputs), strict=True))
        for target, sender in self._senders.items():
            for value, buffer in zip(stage.sends[target], sender.slots[lane].tensors, strict=True):
                buffer.copy_(made[value.name])
        if self.chooses:
            (name,) = stage.outputs
            self.chosen[lane].copy_(self._choose(made[name], fields, draws=draws))

    def _choose(self, logits: torch.Tensor, fields: Mapping[str, torch.Tensor], *, draws: bool) -> torch.Tensor:
        if not draws:
            return greedy(logits)
        return draw(
            logits,
            seeds=fields["seeds"],
            sequences=fields["sequences"],
            positions=fields["places"],
            temperatures=fields["temperatures"],
            top_k=fields["top_k"],
            top_p=fields["top_p"],
        )


def _tensors(stage: StageGraph, captured: Capture) -> list[str]:
    """Names of the tensors that a stage reads."""
    names = [str(node.target) for node in stage.graph.find_nodes(op="get_attr")]
    return [name for name in names if name not in captured.submodules]
