from __future__ import annotations

import pytest

from partkit import processes
from partkit_cli.ranks import start_rank_server


def test_what_ranks_import_is_begun_unless_a_launcher_has_started_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(processes, "prepare", lambda: begun.append("server"))
    monkeypatch.delenv("RANK", raising=False)
    start_rank_server()
    monkeypatch.setenv("RANK", "0")
    start_rank_server()
    assert begun == ["server"]
