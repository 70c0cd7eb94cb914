"""SECURITY.md names tests and modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_file_and_test_that_the_table_names_is_there() -> None:
    cited = re.findall(r"`((?:tests|partkit)/[\w/]+\.py)?(?:::(\w+))?`", TEXT)
    last = ""
    found = 0
    for file, test in cited:
        last = file or last
        if not (file or test):
            continue
        found += 1
        content = (ROOT / last).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in content, f"{last} has no {test}"
    assert found > 15
