"""Where results are to be written: links and devices are never replaced, and what cannot be is told before any work."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from partkit.data import cache
from partkit.data.profile import Profile
from partkit.data.writing import naming, replacing, require_place, write_text_atomically
from partkit.errors import CacheWarning, UsageError
from partkit.runs.item_shapes import require_outputs
from partkit_cli.main import main

GOLDEN = Path(__file__).parent.parent / "golden"


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "plan.json", tmp_path / "link.json"
    link.symlink_to(target)
    require_place(link)
    write_text_atomically(link, "new")
    assert (link.is_symlink(), target.read_text()) == (True, "new")
    with replacing(link.resolve()) as file:
        file.write(b"newer")
    assert (link.is_symlink(), target.read_text()) == (True, "newer")


def test_a_device_is_written_to_and_not_replaced() -> None:
    require_place(Path("/dev/null"))
    write_text_atomically(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_places_that_no_file_can_take_are_told(tmp_path: Path) -> None:
    circle, bound, link = tmp_path / "circle", tmp_path / "socket", tmp_path / "into"
    circle.symlink_to(circle)
    (tmp_path / "file").touch()
    link.symlink_to(tmp_path / "file" / "x.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bound))
        for path, message in [
            (circle, f"{circle} cannot be written: Too many levels of symbolic links; choose another path"),
            (bound, f"{bound} is a socket, and a file is to be written; choose another path"),
            (link, f"{link} cannot be written: {tmp_path / 'file'} is a file, no folder; choose another path"),
        ]:
            with pytest.raises(UsageError) as raised:
                require_place(path)
            assert str(raised.value) == message


def test_outputs_do_not_replace_their_inputs_under_any_name(tmp_path: Path) -> None:
    inputs, hard, link = tmp_path / "in.safetensors", tmp_path / "hard", tmp_path / "link"
    inputs.write_bytes(b"mine")
    hard.hardlink_to(inputs)
    link.symlink_to(inputs)
    for outputs in (inputs, hard, link, tmp_path / "." / ".." / tmp_path.name / "in.safetensors"):
        with pytest.raises(UsageError) as raised:
            require_outputs(inputs, outputs)
        assert raised.value.message == f"the outputs would replace the inputs: {outputs} is the same file as {inputs}"
    with pytest.raises(UsageError) as raised:
        require_outputs(inputs, Path("/dev/null"))
    assert str(raised.value) == (
        "/dev/null is a device or a pipe, and the outputs are not written in order; name a file"
    )
    assert inputs.read_bytes() == b"mine"


def test_run_refuses_outputs_that_are_its_inputs_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    inputs = tmp_path / "in.safetensors"
    inputs.write_bytes(b"mine")
    with pytest.raises(SystemExit) as stop:
        main(
            ["run", str(GOLDEN / "plan.v1.json"), "--device", "cpu", "--inputs", str(inputs), "--outputs", str(inputs)]
        )
    assert (stop.value.code, capsys.readouterr().err) == (
        2,
        f"partkit: the outputs would replace the inputs: {inputs} is the same file as {inputs}; name another file\n",
    )
    assert inputs.read_bytes() == b"mine"


def test_a_full_disk_is_told_with_the_path_of_what_was_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_text_atomically(Path("/dev/full"), "text")
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"), naming(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_an_earlier_process_left_beside_a_file_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    path, stale, young = tmp_path / "out", tmp_path / f".out.{'0' * 16}.tmp", tmp_path / f".out.{'1' * 16}.tmp"
    stale.touch()
    os.utime(stale, (0, 0))
    young.touch()
    other = tmp_path / ".out.mine.tmp"
    other.touch()
    with replacing(path) as file:
        (own,) = set(tmp_path.iterdir()) - {young, other}
        os.utime(own, (0, 0))
        with replacing(path) as another:
            another.write(b"second")
        file.write(b"first")
    assert path.read_bytes() == b"first"
    assert set(tmp_path.iterdir()) == {path, young, other}


def test_a_cache_that_cannot_be_written_is_a_warning_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.chdir(tmp_path)
    profile = Profile.load(GOLDEN / "profile.v1.json")
    with pytest.warns(CacheWarning, match=rf"^nothing is kept for later commands: {blocked}/partkit: Not a directory$"):
        cache.keep_profile(profile)
    source, box = str(GOLDEN / "profile.v1.json"), str(GOLDEN / "cluster.v1.json")
    with pytest.raises(SystemExit) as stop:
        main(["plan", source, "--cluster", box, "--stages", "2", "--pareto", "-q"])
    told = capsys.readouterr().err
    assert (stop.value.code, told) == (
        0,
        f"warning: nothing is kept for later commands: {blocked}/partkit: Not a directory\n",
    )
