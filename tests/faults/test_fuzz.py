"""The small version of ``benchmarks/faults/fuzz.py``: every reader, some broken files of a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.fuzz import fuzz
from benchmarks.faults.readers import READERS
from partkit.data.files import DOCUMENT_BY_KIND
from partkit.errors import WeightsError
from partkit.models.checkpoint import find_checkpoint

SLOW = ("hf model",)
"""Which import transformers first; the long version has them."""


def test_every_kind_of_document_is_in_the_table() -> None:
    assert set(DOCUMENT_BY_KIND) <= set(READERS)


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
def test_broken_files_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    row = fuzz(name, inputs=150, seconds=4, seed=7, keep=tmp_path)
    assert row["failures"] == []
    assert row["inputs"] >= 50
    assert row["refused"] + row["read"] == row["inputs"]


def test_an_index_that_names_a_file_longer_than_names_are_says_that_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"w": "{"x" * 300}"}}}}')
    with pytest.raises(WeightsError) as raised:
        find_checkpoint(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}/{'x' * 255} is missing, and model.safetensors.index.json names it; download the model again"
    )
