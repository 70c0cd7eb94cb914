from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from partkit import errors
from partkit.errors import PartkitError

README = Path(__file__).parent.parent / "README.md"


def _kinds(kind: type[PartkitError]) -> Iterator[type[PartkitError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def test_an_error_reads_as_its_message_and_hint():
    assert str(PartkitError("3 devices are needed, 2 are here", hint="ask for 2 stages")) == (
        "3 devices are needed, 2 are here; ask for 2 stages"
    )


def test_an_error_without_hint_reads_as_its_message():
    assert str(PartkitError("no")) == "no"


def test_every_exit_code_is_in_the_table_of_the_readme_and_the_other_way_round():
    """Faults carry theirs; differing outputs and results not to be trusted are verdicts of commands, no exceptions."""
    from partkit_cli import failure

    table = README.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    of_faults = {kind.exit_code for kind in _kinds(PartkitError) if kind.__module__ == errors.__name__}
    of_commands = {value for name, value in vars(failure).items() if name.isupper() and isinstance(value, int)}
    assert of_faults == {2, 3, 4, 5}
    assert of_faults | of_commands == documented
