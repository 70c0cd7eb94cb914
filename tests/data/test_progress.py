from __future__ import annotations

from partkit.data import progress
from partkit.data.progress import ProgressFile


def test_one_process_reads_how_far_another_is(tmp_path, monkeypatch):
    now = iter([10.0, 10.05, 10.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    file = ProgressFile(tmp_path / "progress")
    assert file.read() is None
    file.write(1, 273)
    assert file.read() == (1, 273)
    file.write(2, 273)  # too soon after the last
    assert file.read() == (1, 273)
    file.write(30, 273)
    assert file.read() == (30, 273)
    (tmp_path / "progress").write_text("4")  # in the middle of being written
    assert file.read() is None
