"""The pipeline as it is usually written by hand: the reference experiment's fourth way, kept as a baseline.

Someone read modeling_bert.py and wrote the cut down: an equal share of the layers for each rank, embeddings on the
first, head on the last, no attention mask. Eager modules; for each item a shape tensor and then the activation are
received into fresh memory, computed on, and sent on after the previous send is done. BERT only.

    partkit compare bert --stages 2 --allow-code --with pipeline,benchmarks.pipeline.handwritten:HandWritten
"""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

import torch
import torch.distributed as dist

from partkit.errors import UnsupportedError
from partkit.executors.protocol import RankContext, Trace
from partkit.machine.clock import call_s, settle
from partkit.models.of_job import item_inputs, load_job_model

_REFERENCE_CUT = {4: (0, 3, 7, 11, 12)}
"""First layer of each rank, and the end, of 12 layers over 4 ranks, as published; elsewhere shares are equal."""
_DIMENSIONS = 3


class HandWritten:
    """One rank's share of BERT's layers."""

    is_data_parallel = False
    items_at_once = 1

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job
        self.warnings, self.notes = list[str](), list[str]()
        self._is_first, self._is_last = context.rank == 0, context.rank == context.world_size - 1

    def load(self) -> None:
        """Build the model and keep this rank's modules. Raises :class:`UnsupportedError` for another than BERT."""
        loaded = load_job_model(self._job)
        module = loaded.materialise(torch.device("cpu"))
        if type(module).__name__ != "BertForMaskedLM":
            raise UnsupportedError(f"the hand-written pipeline is of BertForMaskedLM, not of {type(module).__name__}")
        layers = module.bert.encoder.layer
        ranks = self._context.world_size
        first = _REFERENCE_CUT.get(ranks) if len(layers) == 12 else None
        first = first or tuple(len(layers) * rank // ranks for rank in range(ranks + 1))
        device, rank = self._context.device, self._context.rank
        self._layers = [layer.to(device) for layer in layers[first[rank] : first[rank + 1]]]
        self._embeddings = module.bert.embeddings.to(device) if self._is_first else None
        self._head = module.cls.to(device) if self._is_last else None
        self._dtype = next(layers.parameters()).dtype
        self._inputs = [item_inputs(self._job.model, item, self._job.num_inputs, loaded)[0] for item in range(4)]

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Receive, compute, send, item after item."""
        trace, self._sending = Trace(), list[dist.Work]()
        settle(self._context.device)
        self._context.barrier()
        trace.begin = time.perf_counter()
        with torch.inference_mode():
            for item in items:
                self._item(item, trace, keep, wait=one_at_a_time)
                if one_at_a_time:
                    self._context.barrier()
        self._wait_for_sends()
        settle(self._context.device)
        self._context.barrier()
        trace.end = time.perf_counter()
        return trace

    def stage_s(self) -> dict[int, float]:
        """This rank's modules alone."""
        hidden = torch.zeros(*self._inputs[0].shape, self._width(), dtype=self._dtype, device=self._context.device)
        with torch.inference_mode():
            return {self._context.rank: call_s(lambda: self._compute(hidden), self._context.device, shared=False)}

    def close(self) -> None:
        """Nothing is held that the process group needs."""

    def _item(self, item: int, trace: Trace, keep: Container[int], *, wait: bool) -> None:
        if self._embeddings is not None:
            trace.entered[item] = time.perf_counter()
            hidden = self._embeddings(self._inputs[item % 4].to(self._context.device))
        else:
            hidden = self._receive()
        begin = time.perf_counter()
        result = self._compute(hidden)
        trace.busy_s += time.perf_counter() - begin
        if not self._is_last:
            self._send(result)
            return
        if wait or item in keep:
            settle(self._context.device)
        trace.finished[item] = time.perf_counter()
        if item in keep:
            trace.outputs[item] = [result.to("cpu", copy=True)]

    def _compute(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self._layers:
            given = layer(hidden)
            hidden = given[0] if isinstance(given, tuple) else given
        return hidden if self._head is None else self._head(hidden)

    def _receive(self) -> torch.Tensor:
        source, device = self._context.rank - 1, self._context.device
        shape = torch.empty(_DIMENSIONS, dtype=torch.int64, device=device)
        dist.recv(shape, source)
        hidden = torch.empty(shape.tolist(), dtype=self._dtype, device=device)
        dist.recv(hidden, source)
        return hidden

    def _send(self, hidden: torch.Tensor) -> None:
        self._wait_for_sends()
        target = self._context.rank + 1
        self._kept = (torch.tensor(hidden.shape, dtype=torch.int64, device=hidden.device), hidden.contiguous())
        for tensor in self._kept:
            work = dist.isend(tensor, target)
            assert work is not None
            self._sending.append(work)

    def _wait_for_sends(self) -> None:
        for work in self._sending:
            work.wait()
        self._sending.clear()

    def _width(self) -> int:
        return int(self._layers[0].attention.output.dense.out_features)
