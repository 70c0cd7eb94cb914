"""``hf:DIR`` and ``hf:NAME``: a transformers model from a folder or from the local cache, never from the network."""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING

from partkit.data.model import ModelSpec
from partkit.errors import MachineError, UsageError
from partkit.models.sources.base import target
from partkit.models.sources.hf_config import AUTO_CLASS_BY_TASK, find_folder, read_config

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel


class HuggingFaceSource:
    """A folder with ``config.json`` and, if they are there, safetensors weights; seeded weights otherwise."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Raise :class:`UsageError` for an unknown task, and what :func:`find_folder` and :func:`read_config` do."""
        if importlib.util.find_spec("transformers") is None:
            raise MachineError("hf: models need transformers", hint="pip install 'transformers>=5'")
        if spec.task is not None and spec.task not in AUTO_CLASS_BY_TASK:
            near = difflib.get_close_matches(spec.task, AUTO_CLASS_BY_TASK, n=3)
            raise UsageError(
                f"--task {spec.task!r} is unknown",
                hint=f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(AUTO_CLASS_BY_TASK)}",
            )
        folder = find_folder(target(spec))
        config = read_config(folder)
        if spec.task is None and not config.get("architectures"):
            raise UsageError(
                f"{folder / 'config.json'} names no architecture",
                hint=f"add --task with one of {', '.join(AUTO_CLASS_BY_TASK)}",
            )
        return spec

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Build the model on meta and check every tensor of its checkpoint before anything runs."""
        from partkit.models.sources.hf_load import load_folder

        self.check(spec)
        return load_folder(spec, find_folder(target(spec)))
