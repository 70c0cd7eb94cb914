"""A rank's stage of a plan that writes text.

    rank of the first stage      others                         rank of the last stage
    deal prompts, make a turn --------- message -------------->  hear of the turn
    token of the lane's last turn comes, step, send ... values ... step, choose the token, send it back
          ^                                                                  |
          +------------------------------ token -----------------------------+

The token goes from device to device. The host that makes turns hears of it later: on CUDA it may be ``ahead`` turns of
a lane in front of the tokens that it knows, so that devices never wait for it. Turns are numbered by (step, lane), and
whatever a turn needs is of a turn before it: what one rank waits for another has queued already.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from partkit.data.generate import Prompt, Sampling, Written, with_shape
from partkit.data.places import places
from partkit.errors import MismatchError
from partkit.executors.generation.batching import Batcher, LaneTurn, Writing
from partkit.executors.generation.edges import LaneEdges, entry_of
from partkit.executors.generation.message import (
    block_size,
    fill_block,
    heading_of,
    message_of,
    message_size,
    stop_message,
)
from partkit.executors.generation.stage import StageSteps
from partkit.executors.generation.widths import cut_like
from partkit.executors.generation.writer import Tell
from partkit.executors.pipeline.room import require_room_for
from partkit.executors.protocol import RankContext
from partkit.machine.clock import settle
from partkit.models.capture import capture
from partkit.models.decoding.state import cache_length
from partkit.models.of_job import capture_job_model, load_job_model, tensor_reader
from partkit.models.sources import load_model
from partkit.models.sources.decoder import plain_spec
from partkit.stages.cut import cut_plan

_AHEAD = 2
"""Turns of a lane that a CUDA host makes before it knows the tokens of the first."""
_TAG = 2**20
"""Of messages, apart from edges'."""


@dataclass
class _Outstanding:
    """A turn whose tokens the host does not know yet."""

    turn: LaneTurn
    tokens: torch.Tensor | None = None
    arrived: torch.cuda.Event | None = None


class GenerationExecutor:
    """This rank's stage; every rank calls :meth:`load`, then :meth:`write` any number of times."""

    def __init__(self, context: RankContext) -> None:
        plan = context.job.plan
        assert plan.generate is not None
        self._context, self._plan, self._generate = context, plan, plan.generate
        self._places = places(plan, context.job.host_by_place)
        self._length = cache_length(self._generate.max_length)
        self._stream = torch.cuda.Stream(context.device) if context.device.type == "cuda" else None
        self._num_turns = 0

    @property
    def why_no_graph(self) -> str | None:
        """Why the stage's steps are in no CUDA graphs; None where they are, and on the CPU."""
        return self._steps.why_no_graph

    def load(self) -> None:
        """Capture both widths, cut, read this stage's tensors and open its edges."""
        generate, job, rank = self._generate, self._context.job, self._context.rank
        if self._stream is not None:
            torch.cuda.set_stream(self._stream)
        narrow = load_job_model(job)
        captures = {1: capture_job_model(job, narrow)}
        wide = load_model(with_shape(plain_spec(job.model), generate.step(generate.chunk)), allow_code=job.allow_code)
        captures[generate.chunk] = capture(wide)
        stages = {
            1: cut_plan(captures[1], self._plan),
            generate.chunk: cut_like(captures[generate.chunk], captures[1], self._plan),
        }
        if entry_of(stages[1]) != 0:
            raise MismatchError("tokens enter another stage than the first", hint="re-plan with 'partkit plan'")
        own = {width: each[self._stage_of(rank)] for width, each in stages.items()}
        require_room_for(job, captures[1], [(own[1], self._context.device)])
        self._edges = LaneEdges(generate, stages, self._places, rank, self._stream)
        with torch.inference_mode():
            self._steps = StageSteps(generate, own, captures, tensor_reader(narrow, captures[1]), self._context.device)
        self._connect()
        if self._stream is not None:
            with torch.inference_mode():
                self._steps.capture(self._stream, draws=False, fit=self._edges.fit)
        self.be_ahead(_AHEAD if self._stream is not None else 0)
        self._computed = [None if self._stream is None else torch.cuda.Event() for _ in range(generate.lanes)]

    def be_ahead(self, ahead: int) -> None:
        """Make this many turns of a lane before the tokens of the first are known here; all ranks call it alike."""
        generate, pinned = self._generate, self._stream is not None
        size = block_size(generate.rows, generate.chunk)
        self._ahead = ahead
        self._blocks = [
            [torch.zeros(size, dtype=torch.int64, pin_memory=pinned) for _ in range(ahead + 2)]
            for _ in range(generate.lanes)
        ]
        self._known = [
            [torch.zeros(generate.rows, dtype=torch.int64, pin_memory=pinned) for _ in range(ahead + 2)]
            for _ in range(generate.lanes)
        ]

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, stops: frozenset[int], tell: Tell | None
    ) -> list[Written]:
        """Continue all prompts; the rank where tokens enter gets what was written, in the prompts' order.

        ``tell`` hears there of each new token, with its sequence's number.
        """
        self._sampling, self._begin = sampling, time.perf_counter()
        self._taken: list[bool] = [False] * self._generate.lanes
        with torch.inference_mode():
            if self._stream is not None:
                torch.cuda.set_stream(self._stream)
                if not sampling.is_greedy:
                    self._steps.capture(self._stream, draws=True, fit=self._edges.fit)
            if self._stage_of(self._context.rank) != 0:
                self._follow()
                return []
            return self._lead(prompts, stops, tell)

    def turns(self) -> dict[int, int]:
        """Turns that this rank's stage has taken; another thread may ask at any time."""
        return {self._stage_of(self._context.rank): self._num_turns}

    def close(self) -> None:
        """Release CUDA graphs before the process group goes."""
        settle(self._context.device)
        self._steps.release()
        self._edges.close()

    # --- the rank where tokens enter ---

    def _lead(self, prompts: Sequence[Prompt], stops: frozenset[int], tell: Tell | None) -> list[Written]:
        times: dict[int, list[float]] = {}

        def heard(number: int, token: int) -> None:
            now = time.perf_counter() - self._begin
            times.setdefault(number, [now, now])[1] = now
            if tell is not None:
                tell(number, token)

        batcher = Batcher(self._generate, prompts, stops=stops, tell=heard)
        lanes = range(self._generate.lanes)
        under_way: list[deque[_Outstanding]] = [deque() for _ in lanes]
        while len(batcher.done) < len(prompts):
            for lane in lanes:
                self._fetch(under_way[lane])
                while len(under_way[lane]) > self._ahead:
                    self._take(batcher, under_way[lane])
                turn = batcher.turn(lane)
                if turn is None:
                    while under_way[lane]:
                        self._take(batcher, under_way[lane])
                    continue
                self._tell(message := message_of(turn, self._sampling))
                self._run(message, turn)
                under_way[lane].append(_Outstanding(turn))
        for lane in lanes:
            self._fetch(under_way[lane])
        self._tell(stop_message(self._generate.rows))
        self._end()
        return [_written(batcher.done[number], times[number]) for number in range(len(prompts))]

    def _fetch(self, under_way: deque[_Outstanding]) -> None:
        """Have the tokens of the lane's last turn come, to the next step and to the host."""
        if not under_way or under_way[-1].tokens is not None:
            return
        last = under_way[-1]
        lane = last.turn.lane
        if self._edges.back_in is not None:
            self._edges.back_in.wait(lane)
        known = self._known[lane][last.turn.step % len(self._known[lane])]
        known.copy_(self._steps.chosen[lane], non_blocking=True)
        last.tokens = known
        if self._stream is not None:
            last.arrived = torch.cuda.Event()
            last.arrived.record(self._stream)

    def _take(self, batcher: Batcher, under_way: deque[_Outstanding]) -> None:
        """Wait for the tokens of a lane's oldest turn, and note them."""
        self._fetch(under_way)
        oldest = under_way.popleft()
        assert oldest.tokens is not None
        if oldest.arrived is not None:
            oldest.arrived.synchronize()
        batcher.take(oldest.turn, oldest.tokens.tolist())

    def _tell(self, message: torch.Tensor) -> None:
        """Tell every other rank of a turn."""
        for rank in range(self._context.world_size):
            if rank != self._context.rank:
                dist.send(message, dst=rank, group=self._context.control, tag=_TAG)

    # --- all others ---

    def _follow(self) -> None:
        (first,) = (place.rank for place in self._places if place.stage == 0)
        message = torch.zeros(message_size(self._generate.rows), dtype=torch.int64)
        while True:
            dist.recv(message, src=first, group=self._context.control, tag=_TAG)
            if heading_of(message).stops:
                break
            self._run(message, None)
        self._end()

    # --- every rank ---

    def _run(self, message: torch.Tensor, turn: LaneTurn | None) -> None:
        """Take a turn through the stage; on CUDA this only queues it."""
        heading, edges = heading_of(message), self._edges
        lane, width = heading.lane, heading.width
        item = heading.step * self._generate.lanes + lane
        ring = self._blocks[lane]
        block = ring[heading.step % len(ring)][: block_size(self._generate.rows, width)]
        fill_block(block, message, self._generate.rows, self._length, turn)
        self._steps.block(lane, width).copy_(block, non_blocking=True)
        edges.fit(lane, width)
        computed = self._computed[lane]
        for receiver in edges.receivers.values():
            receiver.post(lane, item, computed if self._taken[lane] else None)
            receiver.wait(lane)
        outgoing = [*edges.senders.values(), *([edges.back_out] if edges.back_out is not None else [])]
        for sender in outgoing:
            sender.ready(lane)
        self._steps.run(lane, width, draws=not self._sampling.is_greedy)
        if computed is not None:
            computed.record(self._stream)
        self._taken[lane] = True
        self._num_turns += 1
        for sender in outgoing:
            sender.send(lane, item, computed)
        if edges.back_in is not None:
            edges.back_in.post(lane, item, computed)

    def _connect(self) -> None:
        back = self._edges.back_in or self._edges.back_out
        chosen = None if back is None else [slot.tensors[0] for slot in back.slots]
        self._steps.connect(list(self._edges.receivers.values()), self._edges.senders, chosen)

    def _end(self) -> None:
        self._edges.drain()
        settle(self._context.device)

    def _stage_of(self, rank: int) -> int:
        (place,) = (place for place in self._places if place.rank == rank)
        return place.stage


def _written(writing: Writing, times: Sequence[float]) -> Written:
    return Written(tokens=tuple(writing.tokens), finish=writing.finish, first_token_s=times[0], last_token_s=times[-1])
