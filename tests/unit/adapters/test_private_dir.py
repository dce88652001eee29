# SPDX-License-Identifier: Apache-2.0
"""The private directory of a run, and what is swept of the runs that died."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsec.adapters.private_dir import private_dir, sweep
from tests.support import plain_environment
from tests.unit.refusals import refused

HOLDER = """
import sys, time
from imgsec.adapters.private_dir import private_dir
with private_dir() as opened:
    (opened.folder("gpg") / "secret").write_text("key material")
    print(opened.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def base(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base of its own, so that no other run is looked at."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    return short


@contextlib.contextmanager
def another_run(base: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run in a process of its own, with key material in its directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=plain_environment(base, XDG_RUNTIME_DIR=str(base)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_it_is_private_empty_and_gone_afterwards(base: Path) -> None:
    with private_dir() as opened:
        assert opened.path.parent == base
        assert stat.S_IMODE(opened.path.stat().st_mode) == 0o700
        assert list(opened.path.iterdir()) == []
        folder = opened.folder("gpg")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert opened.folder("gpg") == folder
        (folder / "key").write_text("secret")
    assert list(base.iterdir()) == []


def test_it_is_gone_after_an_exception_too(base: Path) -> None:
    def die() -> None:
        with private_dir() as opened:
            opened.folder("gpg")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert list(base.iterdir()) == []


def test_modes_do_not_depend_on_the_umask(base: Path) -> None:
    before = os.umask(0)
    try:
        with private_dir() as opened:
            assert stat.S_IMODE(opened.folder("gpg").stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_two_runs_do_not_meet(base: Path) -> None:
    with private_dir() as first, private_dir() as second:
        assert first.path != second.path
        assert first.path.exists()


def test_next_run_removes_what_a_killed_run_left(base: Path) -> None:
    with another_run(base) as (process, left):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (left / "gpg" / "secret").exists()
        with private_dir() as opened:
            assert not left.exists()
            assert list(base.iterdir()) == [opened.path]


def test_killed_run_that_had_another_place_is_found_too(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(base) as (process, left):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        other = tmp_path / "o"
        other.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
        monkeypatch.setenv("TMPDIR", str(base))
        with private_dir() as opened:
            assert not left.exists()
            assert opened.swept >= 1


def test_live_run_is_never_touched(base: Path) -> None:
    with another_run(base) as (_, theirs):
        with private_dir():
            assert (theirs / "gpg" / "secret").exists()
        assert sweep(base) == 0
        assert (theirs / "gpg" / "secret").exists()


def left_behind(base: Path) -> str:
    """The name of a directory as a killed run leaves it."""
    with another_run(base) as (process, left):
        process.kill()
        process.wait()
    return left.name


@pytest.mark.parametrize(
    "name", ["imgsec-checkout", "imgsec-sandbox-abcdefgh", "imgsec-run-of-today", "other"]
)
def test_directories_that_are_no_run_are_never_swept(base: Path, name: str) -> None:
    theirs = base / name
    theirs.mkdir(mode=0o700)
    (theirs / "work").write_text("of a day")
    with private_dir():
        pass
    assert (theirs / "work").read_text() == "of a day"


def test_links_and_files_with_such_a_name_are_never_followed_or_swept(base: Path) -> None:
    name = left_behind(base)
    sweep(base)
    target = base / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    (base / name).symlink_to(target)
    assert sweep(base) == 0
    assert (target / "file").read_text() == "kept"
    (base / name).unlink()
    (base / name).write_text("a file")
    assert sweep(base) == 0
    assert (base / name).read_text() == "a file"


def test_links_inside_a_dead_run_are_removed_and_not_followed(base: Path) -> None:
    target = base / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    (base / left_behind(base) / "link").symlink_to(target)
    assert sweep(base) == 1
    assert (target / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_another_user_is_left_alone(base: Path) -> None:
    left = base / left_behind(base)
    os.chown(left, 12345, 12345)
    assert sweep(base) == 0
    assert left.exists()


def test_directory_that_is_being_born_is_left_alone(base: Path) -> None:
    unborn = base / ("." + left_behind(base))
    sweep(base)
    unborn.mkdir(mode=0o700)
    assert sweep(base) == 0
    os.utime(unborn, (0, 0))
    assert sweep(base) == 1


def test_path_that_is_too_long_for_the_agent_is_passed_over(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = short / ("d" * 70)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with private_dir() as opened:
        assert opened.path.parent != deep
        assert len(str(opened.path / "gpg")) <= 86


def test_place_that_is_relative_missing_or_read_only_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for value in ("here", "/nonexistent", ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        monkeypatch.setenv("TMPDIR", value)
        with private_dir() as opened:
            assert opened.path.parent in (Path("/dev/shm"), Path("/tmp"))


def test_without_any_place_the_run_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with refused("storage-unavailable"), private_dir():
        pass


def test_memory_is_told_from_disk(base: Path) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kinds = {point: kind for _, point, kind, *_ in mounts}
    with private_dir() as opened:
        on_memory = str(base).startswith("/dev/shm") and kinds.get("/dev/shm") == "tmpfs"
        if on_memory:
            assert opened.in_memory


def test_roomy_directory_lies_on_a_disk_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    kinds: dict[Path, bool] = {}
    monkeypatch.setattr("imgsec.adapters.private_dir._usable", lambda: list(kinds))
    monkeypatch.setattr("imgsec.adapters.private_dir._is_memory", lambda path: kinds[path])
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    for kinds_there, expected in (
        ({memory: True, disk: False}, disk),
        ({disk: False, memory: True}, disk),
        ({memory: True}, memory),
    ):
        kinds.clear()
        kinds.update(kinds_there)
        with private_dir(roomy=True) as room:
            assert room.path.parent == expected
            assert room.in_memory is (expected == memory)
            assert room.path.stat().st_mode & 0o777 == 0o700
        assert not room.path.exists()
    kinds.clear()
    with refused("storage-unavailable"), private_dir(roomy=True):
        pass
