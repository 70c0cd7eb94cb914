from __future__ import annotations

import os

import pytest

from partkit.data.writing import require_folder, require_place, write_text_atomically
from partkit.errors import MachineError, UsageError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text_atomically(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named_as_the_user_named_it(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        write_text_atomically(tmp_path, "text")
    assert caught.value.filename == str(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/a\.json") as other:
        write_text_atomically(tmp_path / "file" / "a.json", "text")
    assert other.value.filename == str(tmp_path / "file" / "a.json")


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "a.json")
    write_text_atomically(tmp_path / "link.json", "text")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real" / "a.json").read_text() == "text"
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text_atomically(tmp_path / "pipe", "text")
    assert os.read(reading, 9) == b"text"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()


def test_a_place_is_looked_at_and_nothing_made(tmp_path):
    require_place(tmp_path / "new" / "folder" / "a.json")
    require_folder(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written_is_told_with_the_reason(tmp_path, monkeypatch):
    with pytest.raises(UsageError) as folder:
        require_place(tmp_path)
    assert (
        str(folder.value)
        == f"{tmp_path} is a folder, and a file is to be written; name one in it, as {tmp_path}/out.json"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as under_a_file:
        require_place(tmp_path / "file" / "deep" / "a.json")
    assert str(under_a_file.value) == (
        f"{tmp_path}/file/deep/a.json cannot be written: {tmp_path}/file is a file, no folder; choose another path"
    )
    with pytest.raises(UsageError, match="File name too long; choose another path"):
        require_place(tmp_path / ("x" * 300))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(MachineError) as locked:
        require_place(tmp_path / "a.json")
    assert str(locked.value) == (
        f"{tmp_path}/a.json cannot be written: the folder {tmp_path} may not be written to; "
        "choose another path, or change its permissions"
    )
