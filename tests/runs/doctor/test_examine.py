"""The doctor as a user runs it, with a link that changes what it carries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORRUPTING = """
import sys

if "partkit.ranks.fork_server" in sys.orig_argv:  # what forks the ranks
    from partkit.transport.gloo import GlooChannel

    send = GlooChannel.send

    def send_changed(self, slot, data, after, to_slot):
        if data.numel() >= 1 << 20:
            data = data.clone()
            data[data.numel() // 2] ^= 4
        return send(self, slot, data, after, to_slot)

    GlooChannel.send = send_changed
"""


@pytest.mark.slow
def test_a_copy_that_changes_a_bit_is_found_and_named_and_ends_with_code_3(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CORRUPTING)
    ended = subprocess.run(
        [sys.executable, "-m", "partkit_cli", "doctor", "--json", "--quiet", "--device", "cpu", "-o", "cluster.json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["kind"], found["ok"]) == ("doctor", False)
    (broken,) = [finding for finding in found["findings"] if finding["severity"] == "broken"]
    assert broken["what"].startswith("gloo 0-1: 4 of 67,108,864 bytes sent between devices 0 and 1 over gloo")
    (link,) = found["links"]
    assert link["changed_bytes"] == 4  # one in each of two rounds, each way
    assert link["bytes_per_s"] > 0
    assert found["devices"][0]["calls_per_s"] > 0
    assert json.loads((tmp_path / "cluster.json").read_text())["kind"] == "cluster"
