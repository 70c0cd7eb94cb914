"""Published JSON Schemas of partkit's files; ``python -m partkit.data.schemas`` writes them again."""

from __future__ import annotations

import json
from importlib.resources import files

from partkit.data.files import DOCUMENT_BY_KIND, document_class

KINDS = tuple(DOCUMENT_BY_KIND)


def generate(kind: str) -> str:
    """The schema of ``kind`` as its data class defines it, as the text of its file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **document_class(kind).model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def published(kind: str) -> str:
    """The schema of ``kind`` as this package ships it."""
    return files("partkit.data.schemas").joinpath(f"{kind}.json").read_text(encoding="utf-8")
