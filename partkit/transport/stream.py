"""Work on a stream of its own that the compute stream waits for."""

from __future__ import annotations

import torch


class StreamHandle:
    """The work that a stream has queued so far, for the compute stream, another stream or the host to wait for."""

    def __init__(self, compute: torch.cuda.Stream) -> None:
        self._compute, self._done = compute, torch.cuda.Event()

    def record(self, stream: torch.cuda.Stream) -> None:
        """Let the handle stand for all that ``stream`` has queued so far."""
        self._done.record(stream)

    def wait(self) -> None:
        """Make the compute stream wait for the work."""
        self.hold(self._compute)

    def hold(self, stream: torch.cuda.Stream) -> None:
        """Make another stream wait for the work."""
        stream.wait_event(self._done)

    def synchronize(self) -> None:
        """Make the host wait for the work."""
        self._done.synchronize()
