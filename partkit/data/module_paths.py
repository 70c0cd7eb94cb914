"""Shortening nn.Module paths for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MODEL_ITSELF = "(model)"


def block_of(path: str) -> str:
    """The block that a module belongs to: its path up to the first number, else its first two parts.

    >>> block_of("bert.encoder.layer.0.attention.self.query"), block_of("bert.embeddings.LayerNorm"), block_of("fc")
    ('bert.encoder.layer.0', 'bert.embeddings', 'fc')
    """
    parts = path.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: position + 1])
    return ".".join(parts[:2])


def outermost_whole(stage_by_call: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Stage by path of the outermost modules that stand in one stage with all their parts; ``""`` is the model.

    >>> outermost_whole([("a.x", 0), ("a.y", 0), ("b", 0), ("b.x", 0), ("b.y", 1)])
    {'a': 0, 'b.x': 0, 'b.y': 1}
    """
    below: dict[str, set[int]] = {"": set()}
    children: dict[str, dict[str, None]] = {}
    for module, stage in stage_by_call:
        path = module
        while path:
            below.setdefault(path, set()).add(stage)
            parent = path.rpartition(".")[0]
            children.setdefault(parent, {})[path] = None
            path = parent
        below[""].add(stage)
    found: dict[str, int] = {}

    def walk(path: str) -> None:
        if len(below[path]) == 1:
            (found[path],) = below[path]
            return
        for child in children.get(path, ()):
            walk(child)

    walk("")
    return found


def stage_labels(modules_by_stage: Sequence[Iterable[str]]) -> tuple[str, ...]:
    """What each stage holds, in blocks: as short as leaves no doubt, runs of numbered blocks joined.

    >>> stage_labels([["bert.embeddings", "bert.layer.0", "bert.layer.1", "bert.layer.2.attention"],
    ...               ["bert.layer.2.output", "bert.layer.3", "cls.predictions"]])
    ('embeddings, layer.0–1, part of layer.2', 'part of layer.2, layer.3, predictions')
    >>> stage_labels([["encoder.block.0.layer", "encoder.block.1"], ["decoder.block.0"]])
    ('encoder.block.0–1', 'decoder.block.0')
    """
    blocks_by_stage = [tuple(dict.fromkeys(block_of(path) for path in modules)) for modules in modules_by_stage]
    num_stages_by_block = Counter(block for blocks in blocks_by_stage for block in blocks)
    short = _short_names({_split(block)[0] for block in num_stages_by_block})
    labels = []
    for blocks in blocks_by_stage:
        runs: list[_Run] = []
        for block in blocks:
            name, number = _split(block)
            run = _Run(short[name], number, number, num_stages_by_block[block] > 1)
            if runs and runs[-1].goes_on_with(run):
                run = _Run(run.name, runs[-1].first, number, False)
                runs.pop()
            runs.append(run)
        labels.append(", ".join(str(run) for run in runs))
    return tuple(labels)


@dataclass(frozen=True)
class _Run:
    """Blocks of one name with consecutive numbers, or one block."""

    name: str
    first: int | None
    last: int | None
    is_part: bool

    def goes_on_with(self, other: _Run) -> bool:
        if self.name != other.name or self.is_part or other.is_part or self.last is None:
            return False
        return other.first == self.last + 1

    def __str__(self) -> str:
        part = "part of " if self.is_part else ""
        if self.first is None:
            return f"{part}{self.name or MODEL_ITSELF}"
        dot = "." if self.name else ""
        numbers = f"{self.first}" if self.first == self.last else f"{self.first}–{self.last}"
        return f"{part}{self.name}{dot}{numbers}"


def _split(block: str) -> tuple[str, int | None]:
    """``layer.3`` as name and number; a block without a number has None."""
    name, _, number = block.rpartition(".")
    return (name, int(number)) if number.isdecimal() else (block, None)


def _short_names(names: set[str]) -> dict[str, str]:
    """For each dotted name its shortest ending that no other name has."""
    short = {}
    for name in names:
        parts = name.split(".")
        for start in range(len(parts) - 1, -1, -1):
            ending = ".".join(parts[start:])
            if not any(f".{other}".endswith(f".{ending}") for other in names if other != name):
                break
        short[name] = ending
    return short
