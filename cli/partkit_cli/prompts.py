"""Prompts from the command line and from files: texts, or lists of token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from partkit.errors import FormatError, UsageError

Given = str | list[int]


def prompts_of(path: Path | None, texts: Sequence[str], tokens: Sequence[str]) -> list[Given]:
    """All prompts: the file's, then texts, then token ids; raises where there is none, or one is no prompt."""
    found: list[Given] = [] if path is None else _in_file(path)
    found += [*texts, *(_ids(text) for text in tokens)]
    if not found:
        raise UsageError("there is no prompt", hint="add --prompt TEXT, --tokens 1,2,3 or --prompts FILE.jsonl")
    return found


def _ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--tokens {text} is no list of token ids", hint="write it as --tokens 1,2,3")
    return [int(part) for part in parts]


def _in_file(path: Path) -> list[Given]:
    from partkit.data.reading import MOST_BYTES, read_bytes

    try:
        text = read_bytes(path, MOST_BYTES).decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: byte {error.start}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise FormatError(f"{path} holds no prompt", hint='write one a line: {"text": "…"} or {"input_ids": [1, 2]}')
    return [_in_line(path, number, line) for number, line in lines]


def _in_line(path: Path, number: int, line: str) -> Given:
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        found = None
    if isinstance(found, dict) and found.keys() <= {"text", "input_ids"} and len(found) == 1:
        if isinstance(found.get("text"), str):
            return str(found["text"])
        ids = found.get("input_ids")
        if isinstance(ids, list) and ids and all(isinstance(each, int) and not isinstance(each, bool) for each in ids):
            return [int(each) for each in ids]
    raise FormatError(
        f"{path}, line {number} is no prompt", hint='a line is {"text": "…"} or {"input_ids": [1, 2, 3]}, and no more'
    )
