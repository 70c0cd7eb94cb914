from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from partkit.ranks.pipes import Pipes


def test_a_parent_is_heard_by_every_rank_and_hears_each(tmp_path: Path) -> None:
    parent = Pipes.of_parent(tmp_path, 2)
    ranks = [Pipes.of_rank(tmp_path, rank) for rank in range(2)]
    parent.set("command/0", "go")
    for number, rank in enumerate(ranks):
        rank.wait(["command/0"], timedelta(seconds=1))
        assert rank.get("command/0") == b"go"
        assert not parent.check([f"reply/0/{number}"])
        rank.set(f"reply/0/{number}", "gone")
    assert parent.check(["reply/0/0", "reply/0/1"])


def test_a_reply_larger_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    parent, rank = Pipes.of_parent(tmp_path, 1), Pipes.of_rank(tmp_path, 0)
    text = "µ" * (3 << 20)
    writing = threading.Thread(target=rank.set, args=("reply/0/0", text))
    writing.start()
    parent.wait(["reply/0/0"], timedelta(seconds=30))
    writing.join()
    assert parent.get("reply/0/0").decode() == text


def test_a_wait_ends(tmp_path: Path) -> None:
    rank = (Pipes.of_parent(tmp_path, 1), Pipes.of_rank(tmp_path, 0))[1]
    with pytest.raises(TimeoutError, match=r"command/0 not told within 0:00:00\.010000"):
        rank.wait(["command/0"], timedelta(seconds=0.01))
