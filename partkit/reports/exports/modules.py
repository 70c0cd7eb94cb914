"""Which stage each module of a plan stands in, and each repeated layer: what settings of other tools are made of."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

from partkit.data.module_paths import block_of, outermost_whole
from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.errors import UnsupportedError

_NO_COMPUTE = ("input", "output")


class ModuleStages:
    """Stages by module path, of a plan that no module (or no layer) is cut by."""

    def __init__(self, plan: Plan, profile: Profile, tool: str) -> None:
        """``tool`` is named in refusals. Raises :class:`UnsupportedError` where a stage runs on several devices."""
        self.plan, self._tool = plan, tool
        for stage in plan.stages:
            if len(stage.devices) > 1:
                raise UnsupportedError(
                    f"stage {stage.index} runs on {len(stage.devices)} devices, and {tool} gives each stage one",
                    hint=f"plan with '{self._command()}'",
                )
        stage_by_node = plan.stage_by_node
        self.nodes = [node for node in profile.nodes if node.name in stage_by_node and node.op not in _NO_COMPUTE]
        """Those that compute, in order."""
        self._stage_by_node = stage_by_node
        self._own: dict[str, set[int]] = defaultdict(set)
        self._below: dict[str, set[int]] = defaultdict(set)
        self._children: dict[str, dict[str, None]] = defaultdict(dict)
        for node in self.nodes:
            self._own[node.module].add(self.stage_of(node))
            for path, parent in _ancestors(node.module):
                self._below[path].add(self.stage_of(node))
                if parent is not None:
                    self._children[parent][path] = None

    def stage_of(self, node: Node) -> int:
        """The stage of one of :attr:`nodes`."""
        return self._stage_by_node[node.name]

    def stages_below(self, path: str) -> set[int]:
        """The stages that compute something of a module, its parts included."""
        return self._below[path]

    def outermost(self) -> dict[str, int]:
        """Stage by path of the outermost modules that stand in one stage with all their parts."""
        return outermost_whole((node.module, self.stage_of(node)) for node in self.nodes)

    def require_whole_modules(self) -> None:
        """Raise :class:`UnsupportedError` where a module without parts, or a repeated layer, is cut."""
        self.require_whole_layers()
        for path, stages in self._own.items():
            if len(stages) > 1 and not self._children[path]:
                raise self._cut_within(path)

    def require_whole_layers(self) -> None:
        """Raise :class:`UnsupportedError` where a repeated layer is cut."""
        for path, stages in self._below.items():
            if len(stages) > 1 and path and path.rpartition(".")[2].isdecimal() and block_of(path) == path:
                raise self._cut_within(path)

    def layers(self) -> dict[str, int]:
        """Stage by path of the model's one list of repeated layers, in order.

        Raises :class:`UnsupportedError` where a layer is cut, and for a model with no such list, or several.
        """
        self.require_whole_layers()
        blocks = list(dict.fromkeys(block_of(node.module) for node in self.nodes))
        numbered = [block for block in blocks if block.rpartition(".")[2].isdecimal()]
        lists = {name: list(group) for name, group in groupby(sorted(numbered, key=_list_and_number), key=_list_of)}
        long = {name: layers for name, layers in lists.items() if len(layers) > 1}
        if len(long) != 1:
            found = f"lists {' and '.join(long)}" if long else "no list"
            raise UnsupportedError(
                f"{self._tool} splits one list of repeated layers, and {self.plan.model.source} has {found}",
                hint="export it --to torch or --to accelerate, which name modules",
            )
        (layers,) = long.values()
        return {layer: min(self._below[layer]) for layer in layers}

    def elsewhere(self, layers: dict[str, int]) -> list[Node]:
        """Nodes outside the layers that stand neither with the first layer's stage nor with the last one's side."""
        positions = [index for index, node in enumerate(self.nodes) if block_of(node.module) in layers]
        before, after = self.nodes[: positions[0]], self.nodes[positions[-1] + 1 :]
        last = len(self.plan.stages) - 1
        return [node for node in before if self.stage_of(node)] + [
            node for node in after if self.stage_of(node) != last
        ]

    def _cut_within(self, path: str) -> UnsupportedError:
        stages = " and ".join(map(str, sorted(self._below[path])))
        return UnsupportedError(
            f"{path} is cut between stages {stages}, and {self._tool} cuts between whole layers",
            hint=f"plan with '{self._command()}'",
        )

    def _command(self) -> str:
        """The command for a plan that the tool can say."""
        stages = str(len(self.plan.stages))
        return shlex.join(["partkit", "plan", self.plan.model.source, "--stages", stages, "--granularity", "layer"])


def _ancestors(path: str) -> Iterator[tuple[str, str | None]]:
    """A path and all above it up to the model itself, each with the one above."""
    while path:
        parent = path.rpartition(".")[0]
        yield path, parent
        path = parent
    yield "", None


def _list_of(layer: str) -> str:
    return layer.rpartition(".")[0]


def _list_and_number(layer: str) -> tuple[str, int]:
    name, _, number = layer.rpartition(".")
    return name, int(number)
