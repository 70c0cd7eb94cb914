"""The README and the pages of ``docs/`` as what a reader would type: each code block with its language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = {"commands.md", "formats.md"}
"""Of what the code says itself: its examples are those of ``--help``, which another test runs."""
_BLOCK = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Command lines: without comments and prompts, continued ones joined; what a command printed is left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        bare = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines]
        return [re.sub(r"\s+", " ", line) for line in bare if line]


def pages() -> list[Path]:
    return [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name not in GENERATED)]


def blocks() -> list[Block]:
    return [
        Block(str(path.relative_to(ROOT)), found["language"].strip(), found["text"])
        for path in pages()
        if "_build" not in path.parts
        for found in _BLOCK.finditer(path.read_text(encoding="utf-8"))
    ]


def shell_blocks() -> list[Block]:
    return [block for block in blocks() if block.language in ("sh", "")]


def python_blocks() -> list[Block]:
    return [block for block in blocks() if block.language == "python"]
