"""Files of every schema version stay readable: a golden file is added with a version, and never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.document import SCHEMA_VERSION
from partkit.files import DOCUMENT_BY_KIND, load_document

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_file_loads(path):
    kind, _, _ = path.name.partition(".")
    assert load_document(path).to_data()["kind"] == kind


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_a_file_of_the_current_version_is_written_back_byte_for_byte(kind):
    path = Path(__file__).parent / "golden" / f"{kind}.v{SCHEMA_VERSION}.json"
    assert load_document(path).to_json() == path.read_text(encoding="utf-8")
