"""``hf:DIR`` and ``hf:NAME``: a transformers model from a folder or from the local cache, never from the network."""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from partkit.errors import FormatError, MachineError, UsageError
from partkit.model import ModelSpec
from partkit.sources.base import target

if TYPE_CHECKING:
    from partkit.sources.loaded import LoadedModel

AUTO_CLASS_BY_TASK: Mapping[str, str] = MappingProxyType(
    {
        "base": "AutoModel",
        "audio-classification": "AutoModelForAudioClassification",
        "causal-lm": "AutoModelForCausalLM",
        "ctc": "AutoModelForCTC",
        "depth-estimation": "AutoModelForDepthEstimation",
        "image-classification": "AutoModelForImageClassification",
        "image-text-to-text": "AutoModelForImageTextToText",
        "masked-image-modeling": "AutoModelForMaskedImageModeling",
        "masked-lm": "AutoModelForMaskedLM",
        "object-detection": "AutoModelForObjectDetection",
        "pretraining": "AutoModelForPreTraining",
        "question-answering": "AutoModelForQuestionAnswering",
        "semantic-segmentation": "AutoModelForSemanticSegmentation",
        "seq2seq-lm": "AutoModelForSeq2SeqLM",
        "sequence-classification": "AutoModelForSequenceClassification",
        "speech-seq2seq": "AutoModelForSpeechSeq2Seq",
        "token-classification": "AutoModelForTokenClassification",
        "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
    }
)


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
        from partkit.sources.hf_load import load_folder

        self.check(spec)
        return load_folder(spec, find_folder(target(spec)))


def find_folder(name: str) -> Path:
    """The folder of a model: the path itself, or its newest snapshot in the local Hugging Face cache.

    Raises :class:`UsageError` when a path isn't there, :class:`MachineError` when a name isn't in the cache.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder} has no config.json", hint="name a folder made by save_pretrained")
        return folder
    if folder.exists():
        raise UsageError(f"{folder} is a file", hint="hf: takes the folder that holds config.json")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UsageError(f"there is no folder {folder}", hint="check the path")
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        raise UsageError(f"there is no folder {folder}, and {name!r} can't be a model's name") from None
    if not isinstance(found, str):
        raise MachineError(
            f"{name!r} is neither a folder nor in the local cache ({constants.HF_HUB_CACHE}), and partkit doesn't "
            "download",
            hint=f"run 'hf download {name}' first, or give the folder",
        )
    return Path(found).parent


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``; raises :class:`FormatError` when it isn't a JSON object."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} isn't a config: {error}") from None
    if not isinstance(config, dict):
        raise FormatError(f"{path} isn't a config: it holds a JSON {type(config).__name__}")
    return config
