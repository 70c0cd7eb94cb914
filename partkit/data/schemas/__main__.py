"""Writes every schema into the package: run after a data class changes."""

from __future__ import annotations

from pathlib import Path

from partkit.data.schemas import KINDS, generate

for kind in KINDS:
    (Path(__file__).parent / f"{kind}.json").write_text(generate(kind), encoding="utf-8")
