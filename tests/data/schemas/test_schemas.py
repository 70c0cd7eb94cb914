from __future__ import annotations

import json

import pytest

from partkit.data.schemas import KINDS, generate, published


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_what_the_data_class_says(kind):
    assert published(kind) == generate(kind), "run: make schemas"


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_refuses_unknown_keys_and_names_its_kind(kind):
    schema = json.loads(published(kind))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"]["const"] == kind
    assert schema["properties"]["schema_version"]["const"] == 1
