"""A turn as all ranks hear of it and as a device takes it: one tensor of int64, by fields.

    message   stop . step . lane . width | per row: start . count . feeds . gives . seed . sequence . place . ...
    block     tokens [R, W] . positions [R, W] | per row: last . feeds . seed . sequence . place . ...

The message goes from the rank that deals the prompts to all others; each makes the block of it that its device needs.
Only where tokens enter are those of prompts in the block. Floats stand there as the bits of float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from partkit.data.generate import Sampling
from partkit.executors.generation.batching import LaneTurn

_HEAD = 4
_ROW = ("start", "count", "feeds", "gives", "seeds", "sequences", "places", "top_k", "temperatures", "top_p")
_IN_BLOCK = ("last", "feeds", "seeds", "sequences", "places", "top_k", "temperatures", "top_p")
_FLOATS = ("temperatures", "top_p")


@dataclass(frozen=True)
class Heading:
    """What a rank must know of a turn to take it."""

    stops: bool
    step: int
    lane: int
    width: int


def message_size(rows: int) -> int:
    """Elements of a message."""
    return _HEAD + len(_ROW) * rows


def stop_message(rows: int) -> torch.Tensor:
    """Says that no turn follows."""
    message = torch.zeros(message_size(rows), dtype=torch.int64)
    message[0] = 1
    return message


def message_of(turn: LaneTurn, sampling: Sampling) -> torch.Tensor:
    """The message that tells of a turn."""
    heads = [0, turn.step, turn.lane, turn.width]
    fields: dict[str, list[int]] = {name: [] for name in _ROW}
    bits = torch.tensor([sampling.temperature, sampling.top_p], dtype=torch.float64).view(torch.int64).tolist()
    for row in turn.rows:
        values = {
            "start": row.start,
            "count": row.count,
            "feeds": row.writing is not None and not row.tokens,
            "gives": row.gives,
            "seeds": sampling.seed,
            "sequences": 0 if row.writing is None else row.writing.number,
            "places": row.start + row.count,
            "top_k": sampling.top_k,
            "temperatures": bits[0],
            "top_p": bits[1],
        }
        for name, value in values.items():
            fields[name].append(int(value))
    return torch.tensor(heads + [value for name in _ROW for value in fields[name]], dtype=torch.int64)


def heading_of(message: torch.Tensor) -> Heading:
    """What a message tells of the turn as a whole."""
    stops, step, lane, width = message[:_HEAD].tolist()
    return Heading(bool(stops), step, lane, width)


def block_size(rows: int, width: int) -> int:
    """Elements of a block."""
    return 2 * rows * width + len(_IN_BLOCK) * rows


def fields_of(block: torch.Tensor, rows: int, width: int) -> Mapping[str, torch.Tensor]:
    """A block's fields, views of it."""
    size = rows * width
    fields = {
        "tokens": block[:size].view(rows, width),
        "positions": block[size : 2 * size].view(rows, width),
    }
    for number, name in enumerate(_IN_BLOCK):
        start = 2 * size + number * rows
        values = block[start : start + rows]
        fields[name] = values.view(torch.float64) if name in _FLOATS else values
    return fields


def fill_block(block: torch.Tensor, message: torch.Tensor, rows: int, length: int, turn: LaneTurn | None) -> None:
    """Write a turn's block; ``length`` is the cache's, ``turn`` is there where tokens enter."""
    width = heading_of(message).width
    into = fields_of(block, rows, width)
    given = dict(zip(_ROW, message[_HEAD:].view(len(_ROW), rows), strict=True))
    offsets = torch.arange(width)
    positions = given["start"][:, None] + offsets
    into["positions"].copy_(torch.where(offsets < given["count"][:, None], positions, length - 1))
    into["last"].copy_((given["count"] - 1).clamp(min=0))
    into["tokens"].zero_()
    for name in _IN_BLOCK[1:]:
        into[name].view(torch.int64).copy_(given[name])
    for place, row in enumerate(turn.rows if turn is not None else ()):
        if row.tokens:
            into["tokens"][place, : len(row.tokens)] = torch.tensor(row.tokens)
