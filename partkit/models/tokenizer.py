"""The tokenizer that a model's folder comes with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partkit.data.model import ModelSpec
from partkit.data.reading import read_json
from partkit.models.sources.base import target
from partkit.models.sources.hf_config import find_folder

_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
_SETTINGS = ("generation_config.json", "config.json")


class Tokenizer:
    """Texts to token ids and back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """The text's tokens, with what the tokenizer puts in front of each text."""
        return [int(token) for token in self._tokenizer(text)["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """The tokens' text, without special ones."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def tokenizer_of(spec: ModelSpec) -> Tokenizer | None:
    """The tokenizer in the folder of an ``hf:`` model; None where it has none, and for other sources."""
    if not spec.source.startswith("hf:"):
        return None
    folder = find_folder(target(spec))
    if not any((folder / name).is_file() for name in _FILES):
        return None
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Tokenizer(made)


def stops_of(spec: ModelSpec) -> tuple[int, ...]:
    """Tokens that end a text, as the folder of an ``hf:`` model names them."""
    if not spec.source.startswith("hf:"):
        return ()
    return _stops_in(find_folder(target(spec)))


def _stops_in(folder: Path) -> tuple[int, ...]:
    for name in _SETTINGS:
        if (folder / name).is_file():
            found = read_json(folder / name).get("eos_token_id")
            if found is not None:
                return tuple(found) if isinstance(found, list) else (int(found),)
    return ()
