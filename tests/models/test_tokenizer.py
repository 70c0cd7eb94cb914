from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from partkit.data.generate import TOLD
from partkit.data.model import ModelSpec
from partkit.models.tokenizer import stops_of, tokenizer_of
from partkit.runs.generate import Piece, Teller

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A folder whose tokenizer has a token for each byte."""
    made = RustTokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(LETTERS)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 7}))
    return ModelSpec(source=f"hf:{tmp_path}")


def test_texts_become_tokens_and_texts_again(spec: ModelSpec) -> None:
    tokenizer = tokenizer_of(spec)
    assert tokenizer is not None
    tokens = tokenizer.encode("two wörds")
    assert len(tokens) == 10
    assert tokenizer.decode(tokens) == "two wörds"


def test_a_letter_of_two_tokens_comes_whole(spec: ModelSpec, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(spec)
    assert tokenizer is not None
    pieces: list[Piece] = []
    teller = Teller(tmp_path / "tokens", pieces.append, tokenizer)
    teller.look()  # nobody has written yet
    told = b"".join(TOLD.pack(3, token) for token in tokenizer.encode("aöb"))
    for size in (5, 12, 40):  # records come in parts
        (tmp_path / "tokens").write_bytes(told[:size])
        teller.look()
    assert [piece.text for piece in pieces] == ["a", "", "ö", "b"]
    assert {piece.index for piece in pieces} == {3}


def test_stop_tokens_are_those_of_the_folder(spec: ModelSpec, tmp_path: Path) -> None:
    assert stops_of(spec) == (7,)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}))
    assert stops_of(spec) == (2, 5)
    assert stops_of(ModelSpec(source="llama-tiny")) == ()


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert tokenizer_of(ModelSpec(source=f"hf:{tmp_path}")) is None
    assert tokenizer_of(ModelSpec(source="llama-tiny")) is None
