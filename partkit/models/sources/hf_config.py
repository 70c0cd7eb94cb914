"""The folder of an ``hf:`` model: where it is, its ``config.json``, and the classes for each task; no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from partkit.data.reading import read_json, shown
from partkit.errors import FormatError, MachineError, UsageError

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


_KINDS: Mapping[str, tuple[type, str]] = MappingProxyType(
    {"auto_map": (dict, "an object"), "model_type": (str, "a text"), "architectures": (list, "a list")}
)
_COUNT = re.compile(r"layer|block|depth|expert|labels|heads|stages")
"""In the names of numbers of parts, for each of which something is made even before there are weights."""
_MOST_PARTS = 100_000


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
        config = read_json(path)
    except FormatError as error:
        raise FormatError(f"{path} isn't a config: {error.message.removeprefix(str(path)).lstrip(': ')}") from None
    if not isinstance(config, dict):
        raise FormatError(f"{path} isn't a config: it holds a JSON {type(config).__name__}")
    for name, (kind, meant) in _KINDS.items():
        if config.get(name) is not None and not isinstance(config[name], kind):
            raise FormatError(f"{path}: {name} is {shown(config[name])}, and {meant} is meant")
    _require_countable(path, config)
    return config


def _require_countable(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse numbers of parts that nobody could even build the frame of, in the config and those within it."""
    for name, value in config.items():
        if isinstance(value, dict):
            _require_countable(path, value)
        elif isinstance(value, int) and _COUNT.search(name) and value > _MOST_PARTS:
            raise FormatError(f"{path}: {name} is {value:,}, and {_MOST_PARTS:,} is the most")
