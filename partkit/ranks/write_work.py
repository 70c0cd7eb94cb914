"""What a rank does of a :class:`RunJob` whose plan writes text: its stage's part of continuing prompts."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch

from partkit.data.generate import TOLD
from partkit.data.orders import Load, WriteOrder, WriteText
from partkit.data.progress import ProgressFile
from partkit.data.replies import DeviceUse, Loaded, Reply, TextWritten
from partkit.executors.generation.writer import Writer, make_writer
from partkit.executors.protocol import RankContext
from partkit.machine.environment import host_peak_bytes
from partkit.ranks.own_folder import require_new_file
from partkit.stages.load_tensors import LOADS


class WriteWork:
    """One rank's part of writing text."""

    orders: ClassVar[Any] = WriteOrder

    def __init__(self, context: RankContext) -> None:
        self._context = context
        self._executor: Writer | None = None

    def obey(self, order: WriteOrder) -> Reply:
        """Do one order."""
        match order:
            case Load():
                return self._load(order)
            case WriteText():
                return self._write(order)

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken."""
        return {} if self._executor is None else self._executor.turns()

    def close(self) -> None:
        """Release the executor."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def _load(self, order: Load) -> Loaded:
        begin = time.perf_counter()
        if order.progress:
            file = ProgressFile(require_new_file(Path(f"{order.progress}{self._context.rank}")))
            LOADS.tell = lambda num_bytes: file.write(num_bytes, 0)
        self._executor = make_writer(self._context)
        self._executor.load()
        why_not = self._executor.why_no_graph
        gc.collect()
        gc.freeze()  # as for a run: a collection would look at every object of torch's
        return Loaded(
            load_s=time.perf_counter() - begin,
            weight_bytes=LOADS.num_bytes,
            weights_s=LOADS.seconds,
            is_data_parallel=False,
            items_at_once=1,
            notes=() if why_not is None else (f"rank {self._context.rank} writes without CUDA graphs: {why_not}",),
        )

    def _write(self, order: WriteText) -> TextWritten:
        assert self._executor is not None, "an order before 'load'"
        begin, stops = time.perf_counter(), frozenset(order.stops)
        if order.stream and self._context.rank == 0:
            with require_new_file(Path(order.stream)).open("wb", buffering=0) as file:
                written = self._executor.write(order.prompts, order.sampling, stops, _teller(file))
        else:
            written = self._executor.write(order.prompts, order.sampling, stops, None)
        return TextWritten(written=tuple(written), seconds=time.perf_counter() - begin, uses=(self._use(),))

    def _use(self) -> DeviceUse:
        device = self._context.device
        if device.type == "cpu":
            return DeviceUse(device="cpu", peak_bytes=host_peak_bytes())
        return DeviceUse(device=str(device), peak_bytes=torch.cuda.max_memory_allocated(device))


def _teller(file: BinaryIO) -> Any:
    return lambda sequence, token: file.write(TOLD.pack(sequence, token))
