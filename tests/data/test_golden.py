"""Files of every schema version stay readable: a golden file is added with a version, and never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.document import SCHEMA_VERSION
from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.reading import read_json

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_file_loads(path):
    kind, _, _ = path.name.partition(".")
    assert load_document(path).to_data()["kind"] == kind


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_a_file_of_the_current_version_is_written_back_with_all_it_held(kind, tmp_path):
    path = Path(__file__).parent.parent / "golden" / f"{kind}.v{SCHEMA_VERSION}.json"
    document = load_document(path)
    assert load_document(document.save(tmp_path / "again.json")) == document
    assert_holds(document.to_data(), read_json(path))


def assert_holds(written, golden):
    """``written`` has all of ``golden``; fields that came later, with their defaults, are let pass."""
    if isinstance(golden, dict):
        for key, value in golden.items():
            assert_holds(written[key], value)
    elif isinstance(golden, list):
        for one, other in zip(written, golden, strict=True):
            assert_holds(one, other)
    else:
        assert written == golden
