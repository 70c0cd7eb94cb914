"""Loading a stage's tensors by several threads."""

from __future__ import annotations

import threading

import pytest
import torch

from partkit.errors import WeightsError
from partkit.stages.load_tensors import Loads, load_tensors

CPU = torch.device("cpu")


def test_each_name_is_read_once_and_given_by_name():
    told: list[str] = []

    def read(name: str) -> torch.Tensor:
        told.append(name)
        return torch.full((2,), float(ord(name)))

    found = load_tensors(["a", "b", "a", "c"], read, CPU)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"a": [97, 97], "b": [98, 98], "c": [99, 99]}
    assert sorted(told) == ["a", "b", "c"]


def test_the_bytes_that_are_there_are_told_as_they_come(monkeypatch):
    told: list[int] = []
    monkeypatch.setattr("partkit.stages.load_tensors.LOADS", Loads(tell=told.append))
    load_tensors(["a", "b", "a", "c"], lambda name: torch.ones(ord(name) - ord("a") + 1), CPU)
    assert (len(told), told == sorted(told), told[-1]) == (3, True, 24)


def test_nothing_is_read_for_no_names():
    assert load_tensors([], lambda name: torch.ones(1), CPU) == {}


def test_the_first_fault_is_raised():
    def read(name: str) -> torch.Tensor:
        raise WeightsError(f"{name} is missing")

    with pytest.raises(WeightsError, match=r"^a is missing$"):
        load_tensors(["a", "b"], read, CPU)


def test_tensors_are_read_at_the_same_time_where_there_are_cores(monkeypatch):
    monkeypatch.setattr("partkit.stages.load_tensors.num_cores", lambda: 2)
    both = threading.Barrier(2, timeout=30)  # passes only if two reads are under way at once

    def read(name: str) -> torch.Tensor:
        both.wait()
        return torch.ones(1)

    assert set(load_tensors(["a", "b"], read, CPU)) == {"a", "b"}
