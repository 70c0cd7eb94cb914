from __future__ import annotations

from partkit.errors import PartkitError


def test_an_error_reads_as_its_message_and_hint():
    assert str(PartkitError("3 devices are needed, 2 are here", hint="ask for 2 stages")) == (
        "3 devices are needed, 2 are here; ask for 2 stages"
    )


def test_an_error_without_hint_reads_as_its_message():
    assert str(PartkitError("no")) == "no"


def test_every_fault_has_a_documented_exit_code():
    assert {kind.exit_code for kind in PartkitError.__subclasses__()} == {2, 3, 4, 5, 6, 7}
