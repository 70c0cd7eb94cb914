"""What a command that needs ranks does first."""

from __future__ import annotations

import os


def start_rank_server() -> None:
    """Let what ranks need be imported while this process imports; a launcher's ranks (torchrun) are there already."""
    from partkit.processes import prepare

    if "RANK" not in os.environ:
        prepare()
