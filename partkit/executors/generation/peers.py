"""transformers' own ``generate()``, to compare with: on one device, with its compiled static cache, and over several
devices by accelerate. They take as many prompts at once as the plan has sequences, all of one length, and greedily.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from partkit.data.generate import Prompt, Sampling, Written
from partkit.errors import UnsupportedError
from partkit.executors.generation.writer import Tell
from partkit.executors.protocol import RankContext
from partkit.executors.whole.accelerate import dispatched_over, import_accelerate
from partkit.executors.whole.peers import faults_are_reasons
from partkit.machine.clock import settle
from partkit.machine.memory import require_room
from partkit.models.sources import load_model
from partkit.models.sources.decoder import plain_spec
from partkit.models.sources.loaded import LoadedModel


class SingleWriter:
    """``model.generate()`` on one device."""

    settings: ClassVar[dict[str, Any]] = {}
    """What it is called with besides."""
    why_no_graph = None

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job

    def load(self) -> None:
        """Build the model with its weights."""
        loaded = load_model(plain_spec(self._job.model), allow_code=self._job.allow_code)
        model: Any = self._placed(loaded)
        model.config.use_cache = model.generation_config.use_cache = True
        self._model = model

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, stops: frozenset[int], tell: Tell | None
    ) -> list[Written]:
        """See :class:`Writer`. Raises :class:`UnsupportedError` for prompts of unequal length and drawn tokens."""
        if len({(len(each.tokens), each.max_new_tokens) for each in prompts}) > 1 or not sampling.is_greedy:
            raise UnsupportedError(f"{self._job.executor} writes greedily after prompts of one length")
        generate = self._job.plan.generate
        assert generate is not None
        written: list[Written] = []
        begin = time.perf_counter()
        with torch.no_grad(), faults_are_reasons("transformers"):
            for first in range(0, len(prompts), generate.sequences):
                some = prompts[first : first + generate.sequences]
                written += self._write(some, stops, begin, first, tell)
        return written

    def turns(self) -> dict[int, int]:
        """There are no stages."""
        return {}

    def close(self) -> None:
        """Wait for the device."""
        settle(self._context.device)

    def _placed(self, loaded: LoadedModel) -> torch.nn.Module:
        require_room(loaded.weight_bytes, self._context.device, self._job.executor)
        return loaded.materialise(self._context.device)

    def _write(
        self, prompts: Sequence[Prompt], stops: frozenset[int], begin: float, first: int, tell: Tell | None
    ) -> list[Written]:
        times = _Times(begin)
        ids = torch.tensor([each.tokens for each in prompts], device=self._context.device)
        made = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=prompts[0].max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(stops) or None,
            pad_token_id=0,
            streamer=times,
            **self.settings,
        )
        rows = [_ended(row[ids.shape[1] :], stops) for row in made.tolist()]
        for number, row in enumerate(rows, start=first):
            for token in row if tell is not None else ():
                tell(number, token)  # type: ignore[misc]
        return [
            Written(
                tokens=tuple(row),
                finish="stop" if row[-1] in stops else "length",
                first_token_s=times.seconds[0],
                last_token_s=times.seconds[len(row) - 1],
            )
            for row in rows
        ]


class StaticWriter(SingleWriter):
    """The same with transformers' static cache, which it compiles its decode step for."""

    settings: ClassVar[dict[str, Any]] = {"cache_implementation": "static"}


class AccelerateWriter(SingleWriter):
    """``generate()`` of a model whose layers accelerate has placed on several GPUs."""

    def _placed(self, loaded: LoadedModel) -> torch.nn.Module:
        import_accelerate()
        indexes, kind = sorted(set(self._job.device_by_place)), self._context.device.type
        if kind != "cuda" or len(indexes) < 2:
            raise UnsupportedError(
                "accelerate's dispatch_model places layers on CUDA devices, two or more, and this comparison is on "
                f"{len(indexes)} {kind} device{'s' if len(indexes) != 1 else ''}"
            )
        with faults_are_reasons("accelerate"):
            return dispatched_over([torch.device("cuda", index) for index in indexes], loaded)


class _Times:
    """When each step's tokens were there: transformers gives them to it as it would to who prints them."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._has_prompt = False
        self.seconds: list[float] = []

    def put(self, _: torch.Tensor) -> None:
        """Take note of a step; the first that is given is the prompt."""
        if self._has_prompt:
            self.seconds.append(time.perf_counter() - self._begin)
        self._has_prompt = True

    def end(self) -> None:
        """Nothing is left to tell."""


def _ended(tokens: Sequence[int], stops: frozenset[int]) -> list[int]:
    """The tokens up to the first that stops."""
    for place, token in enumerate(tokens):
        if token in stops:
            return list(tokens[: place + 1])
    return list(tokens)
