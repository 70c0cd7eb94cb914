"""Work that CUDA refuses to capture, with torch's part played here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from partkit.machine.cuda_graph import NotCapturableError, capture_graph


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of CUDA; a capture that work has spoilt says so at its end, as torch's does."""
    made: list[str] = []

    @contextlib.contextmanager
    def graph(*_: Any, **__: Any) -> Iterator[None]:
        try:
            yield
        finally:
            made.append("end")
            if "spoilt" in made:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    stream = SimpleNamespace(device="cuda:0")
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda each: made.append("set" if each is stream else "other"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: made.append(f"synchronize {device}"))
    return made


def test_the_first_thing_that_was_refused_is_told_and_the_device_is_fit_for_more(calls: list[str]) -> None:
    def work() -> None:
        calls.append("spoilt")
        raise RuntimeError("Cannot copy between CPU and CUDA tensors during capture. Please use pin_memory().")

    with pytest.raises(NotCapturableError) as raised:
        capture_graph(None, work)  # type: ignore[arg-type]
    assert str(raised.value) == "Cannot copy between CPU and CUDA tensors during capture"
    assert calls == ["spoilt", "end", "set", "synchronize cuda:0"]


def test_memory_that_runs_out_is_no_reason_to_do_without_a_graph(calls: list[str]) -> None:
    def work() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        capture_graph(None, work)  # type: ignore[arg-type]
    assert calls == ["end"]
