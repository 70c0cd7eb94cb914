from __future__ import annotations

import json

import pytest

from partkit.data.printable import escaped_json, line, lines

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b31m\rb\x7f\u202ec\u2028d"
HARMLESS = "a\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\rb\\x7f\\u202ec\\u2028d"


def test_what_a_terminal_would_obey_is_shown_as_its_code():
    assert line(HOSTILE) == lines(HOSTILE) == HARMLESS


@pytest.mark.parametrize("text", ["layer.0–6, part of layer.7", "µs · 中文 · é", "", "\\x1b"])
def test_all_else_stays(text):
    assert line(text) == lines(text) == escaped_json(text) == text


def test_a_name_cannot_make_a_line_of_its_own():
    assert line("a\nVALID\tb") == "a\\nVALID\\tb"
    assert lines("one\n\ttwo") == "one\n\ttwo"


def test_json_keeps_its_value():
    text = json.dumps({"name": HOSTILE, "lone": "\ud800"}, ensure_ascii=False)
    assert json.loads(escaped_json(text)) == {"name": HOSTILE, "lone": "\ud800"}
    assert escaped_json(text).encode().decode().isprintable()
