"""Broken files made of whole ones: bytes turned over, and JSON with values that nobody's program writes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

HOSTILE: tuple[Callable[[random.Random], str], ...] = (
    *((lambda _, text=text: text) for text in (
        "null", "true", "-1", "0", "1e308", "1e-320", "1e400", "NaN", "-Infinity", "[]", "{}", '""', '"\\ud800"', "5.5",
        '"../../etc/passwd"', '"/etc/passwd"', '"__import__(\'os\').system(\'true\')"', '"(a+)+$"', '"\\u0000"',
        "2147483648", "9223372036854775808", "1" + "0" * 400, "9" * 5000, "[" * 200 + "]" * 200,
        '"\\u001b[31m"', '"cuda"',
    )),
    lambda draw: json.dumps("x" * draw.choice((1_000, 100_000))),
    lambda draw: "[" + ",".join(["1"] * draw.choice((100, 20_000))) + "]",
    lambda draw: "{" + ",".join(f'"k{i}": {i}' for i in range(draw.choice((10, 3_000)))) + "}",
    lambda draw: str(draw.randrange(-(2**70), 2**70)),
    lambda draw: repr(draw.uniform(-1, 1) * 10 ** draw.randrange(-300, 300)),
)  # fmt: skip
"""Values as they stand in a file; Python's own json would not write some of them."""
_MARK = "partkit-fuzz-mark-"


def mutated_json(text: str, draw: random.Random) -> bytes:
    """The document with one to four of its values changed, gone, doubled, moved or replaced by hostile ones."""
    data: Any = json.loads(text)
    hostile: dict[str, str] = {}
    for _ in range(draw.randrange(1, 5)):
        places = _places(data)
        if not places:
            break
        holder, key = draw.choice(places)
        match draw.randrange(6):
            case 0:
                del holder[key]
            case 1:
                other, there = draw.choice(places)
                if _holds(other, there) and _holds(holder, key):
                    holder[key] = json.loads(json.dumps(other[there]))
            case 2 if isinstance(holder, dict):
                holder[draw.choice((key + "x", "kind", "", "schema_version", "\x1b[2J"))] = holder[key]
            case 3 if isinstance(holder, list):
                holder.extend(json.loads(json.dumps(holder[:1])) * draw.randrange(1, 50))
            case _:
                mark = f"{_MARK}{len(hostile)}-"
                hostile[mark] = draw.choice(HOSTILE)(draw)
                holder[key] = mark
    written = json.dumps(data)
    for mark, value in hostile.items():
        written = written.replace(json.dumps(mark), value)
    return written.encode(errors="surrogatepass")


def mutated_bytes(whole: bytes, draw: random.Random) -> bytes:
    """The file with a few bytes turned over, a piece cut out, doubled or put elsewhere, or its end missing."""
    data = bytearray(whole)
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(data) + 1)
        length = min(draw.choice((1, 2, 8, 64, 4096)), len(data) - at)
        match draw.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = data[at : at + length]
            case 2:
                del data[at : at + length]
            case 3:
                data[at : at + length] = draw.randbytes(length)
            case 4:
                data[at:at] = draw.choice((b"\0" * 8, b"\xff" * 8, b"{", b'"', b"PK\x03\x04", b"\xed\xa0\x80"))
            case _ if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
    return bytes(data)


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys, those within it too."""
    found: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            found.append((each, key))
            waiting.append(each[key])
    return found


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)
