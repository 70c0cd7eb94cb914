from __future__ import annotations

import inspect

from partkit.executors import EXECUTORS
from partkit.runs.compare import CompareOptions
from partkit_cli.commands.compare import compare


def test_the_command_and_the_library_compare_the_same_executors() -> None:
    at_the_command = inspect.signature(compare).parameters["executors"].default
    assert tuple(at_the_command.split(",")) == CompareOptions().executors
    assert EXECUTORS.keys() >= set(CompareOptions().executors)


def test_a_comparison_takes_nine_rounds_of_two_seconds_from_the_library_too() -> None:
    assert (CompareOptions().rounds, CompareOptions().seconds_per_round) == (9, 2.0)
