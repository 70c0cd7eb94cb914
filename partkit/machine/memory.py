"""Memory that a device has left for us, with a margin for what is taken beside tensors."""

from __future__ import annotations

import torch

from partkit.machine.devices import host_memory_bytes

MARGIN = 0.08
"""Share of the free memory that is left alone: workspaces of libraries, fragments, other tenants that grow."""


def free_bytes(device: torch.device, margin: float = MARGIN) -> int:
    """Bytes free on the device now, less the margin: of a GPU as the driver reports them, else of the host."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_memory_bytes()
    return int(free * (1 - margin))
