"""Splits that other tools made, as pins of a plan: a device by module, or the modules that stages begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partkit.data.module_paths import outermost_whole
from partkit.data.profile import Profile
from partkit.data.reading import read_json
from partkit.errors import FormatError, UsageError

_NO_COMPUTE = ("input", "output")


@dataclass(frozen=True)
class DeviceMap:
    """accelerate's ``device_map``: a device (a number, or a name as ``cuda:1``) by module path."""

    device_by_path: dict[str, int | str]

    @classmethod
    def load(cls, path: Path) -> DeviceMap:
        """Read one. Raises :class:`FormatError` for other JSON, and for devices that hold no stage (``disk``)."""
        data = read_json(path)
        if not isinstance(data, dict) or not data or not all(isinstance(value, int | str) for value in data.values()):
            raise FormatError(f"{path} is no device_map", hint='it is an object as {"model.layers.0": 0}')
        for name, device in data.items():
            if device in ("disk", "meta"):
                raise FormatError(
                    f"{path} has {name!r} on {device!r}, which computes nothing", hint="partkit plans for devices only"
                )
        return cls(data)

    @property
    def num_stages(self) -> int:
        """Devices that it names."""
        return len(set(self.device_by_path.values()))

    def stage_by_path(self, modules: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        """Stage by path, devices counted as they first compute in ``modules``, the module of each operation in order;
        and paths that compute nothing."""
        first = {path: _first_under(path, modules) for path in self.device_by_path}
        used = sorted((position, path) for path, position in first.items() if position is not None)
        stage_by_device = {
            device: stage for stage, device in enumerate(dict.fromkeys(self.device_by_path[path] for _, path in used))
        }
        unused = [path for path, position in first.items() if position is None]
        return {path: stage_by_device[self.device_by_path[path]] for _, path in used}, unused


@dataclass(frozen=True)
class SplitPoints:
    """The modules that stages after the first begin with, as torch.distributed.pipelining's ``split_spec`` has them."""

    points: tuple[str, ...]

    @property
    def num_stages(self) -> int:
        """One more than points."""
        return len(self.points) + 1

    def stage_by_path(self, modules: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        """Stage by path of each module that lies wholly between two points. Raises :class:`UsageError` for a point
        that is no module, or comes before the one before it."""
        begins = [0]
        for point in self.points:
            found = _first_under(point, modules)
            if found is None:
                raise UsageError(f"no operation stands in {point!r}", hint=f"modules are named as {modules[0]!r} is")
            if found <= begins[-1]:
                before = repr(self.points[len(begins) - 2]) if len(begins) > 1 else "the model's first module"
                raise UsageError(f"{point!r} does not begin after {before}, and points have an order")
            begins.append(found)
        stages = [sum(position >= begin for begin in begins) - 1 for position in range(len(modules))]
        return outermost_whole(zip(modules, stages, strict=True)), []


def pins_of_split(split: DeviceMap | SplitPoints, profile: Profile) -> tuple[list[str], list[str]]:
    """``REGEX=STAGE`` for what the split names, and names that compute nothing.

    Raises :class:`UsageError` where nothing that it names is in the model.
    """
    modules = [node.module for node in profile.nodes if not node.free and node.op not in _NO_COMPUTE]
    stage_by_path, unused = split.stage_by_path(modules)
    if not stage_by_path:
        raise UsageError(
            f"nothing that the split names is in {profile.model.source}", hint=f"its modules are as {modules[0]!r}"
        )
    return [f"^{re.escape(path)}={stage}" for path, stage in stage_by_path.items()], unused


def _first_under(path: str, modules: Sequence[str]) -> int | None:
    """Position of the first operation of a module or its parts."""
    return next(
        (
            position
            for position, module in enumerate(modules)
            if not path or module == path or module.startswith(f"{path}.")
        ),
        None,
    )
