# SPDX-License-Identifier: Apache-2.0
"""The door to other programs, with the shell as the program behind it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsec.adapters._process import Completed, Tools, await_ends, run, run_briefly
from tests.unit.refusals import refused

SH = "/bin/sh"
ENV = {"PATH": "/usr/bin:/bin"}
Door = Callable[..., Completed]
Shell = Callable[..., Completed]


@pytest.fixture(params=[run, run_briefly], ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Door:
    """One of the two, which do the same."""
    found: Door = request.param
    return found


@pytest.fixture
def shell(door: Door) -> Shell:
    def through(script: str, *words: str, stdin: bytes = b"", timeout: float = 30) -> Completed:
        argv = [SH, "-c", script, "sh", *words]
        return door(argv, environment=ENV, timeout=timeout, stdin=stdin)

    return through


def await_end(pid: int) -> None:
    """Wait until a process has ended; a killed one needs a moment for that."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 20)[0], f"process {pid} lives on"
    finally:
        os.close(handle)


@pytest.mark.parametrize("pidfd", [True, False])
def test_end_of_a_process_is_waited_for_with_and_without_the_kernels_help(
    monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen(["sleep", "60"]) as living, subprocess.Popen(["true"]) as ending:
        begun = time.monotonic()
        await_ends([ending.pid, 2**22 + 1], 20)  # the second is nobody's: above every limit
        assert time.monotonic() - begun < 10
        assert Path(f"/proc/{ending.pid}/cmdline").read_bytes() == b""
        await_ends([living.pid], 0.1)
        assert living.poll() is None
        living.kill()
        await_ends([living.pid], 20)
        assert living.wait(timeout=1) == -signal.SIGKILL


def test_both_outputs_and_the_exit_code_come_back(shell: Shell) -> None:
    done = shell("printf out; printf err >&2; exit 7")
    assert (done.tool, done.exit_code, done.stdout, done.stderr) == ("sh", 7, b"out", b"err")


def test_arguments_reach_the_program_unchanged(shell: Shell) -> None:
    words = ["", " ", "a b", "$(id)", "; id", "*", "-n", "\u00e4", "line\nend", "--output=x"]
    done = shell(r'for word; do printf "%s\0" "$word"; done', *words)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_standard_input_is_given_whole_and_ends(shell: Shell) -> None:
    content = os.urandom(300_000)
    assert shell("cat", stdin=content).stdout == content
    assert shell("cat").stdout == b""


def test_program_that_does_not_read_its_input_is_no_failure(shell: Shell) -> None:
    assert shell("exec 0<&-; exit 0", stdin=b"x" * 1_000_000).exit_code == 0


def test_child_sees_no_variable_but_those_given(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "secret")
    done = door(["/usr/bin/env"], environment={"A": "1"}, timeout=30)
    assert done.stdout == b"A=1\n"


def test_death_by_signal_is_a_negative_code(shell: Shell) -> None:
    assert shell("kill -TERM $$").exit_code == -signal.SIGTERM
    assert shell("kill -KILL $$").exit_code == -signal.SIGKILL


def test_much_output_neither_stops_nor_fails(shell: Shell) -> None:
    done = shell("head -c 2000000 /dev/zero; head -c 200000 /dev/zero >&2")
    assert len(done.stdout) == 2_000_000
    assert len(done.stderr) == 200_000


def test_timeout_ends_the_program_and_all_that_it_started(shell: Shell, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = 'sleep 600 & echo $$ $! > "$1.new"; mv "$1.new" "$1"; wait'
    with refused("timeout"):
        shell(script, str(note), timeout=2)
    pids = [int(word) for word in note.read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        await_end(pid)


def test_timeout_ends_a_program_that_ignores_the_gentle_signal(shell: Shell) -> None:
    with refused("timeout"):
        shell("trap '' TERM INT HUP; while :; do sleep 0.1; done", timeout=0.5)


def test_interruption_ends_the_program_even_as_it_starts(shell: Shell, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f'echo $$ > "$1.new"; mv "$1.new" "$1"; kill -HUP {os.getpid()}; sleep 600'

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGHUP, interrupt)
    try:
        with pytest.raises(Interrupted):
            shell(script, str(note))
    finally:
        signal.signal(signal.SIGHUP, before)
    await_end(int(note.read_text()))


def test_program_that_is_missing_or_not_executable_is_named(door: Door, tmp_path: Path) -> None:
    plain = tmp_path / "tool"
    plain.write_text("no program")
    for path in (str(tmp_path / "none"), str(plain)):
        with refused("tool-missing") as reasons:
            door([path], environment=ENV, timeout=5)
        assert Path(path).name in reasons[0].text


def test_descriptor_is_inherited_where_it_is_named(door: Door) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    door(
        [SH, "-c", f"echo through >/dev/fd/{writing}"],
        environment=ENV,
        timeout=30,
        pass_fds=(writing,),
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"through\n"


def test_failure_names_the_tool_and_shows_what_it_printed_safely(shell: Shell) -> None:
    done = shell(r"printf '\033[31mbad\007 things\n' >&2; exit 3")
    with refused("tool-failed") as reasons:
        done.require_success()
    assert "sh ended with 3" in reasons[0].text
    assert "bad" in reasons[0].text
    assert "\x1b" not in reasons[0].text
    assert len(Completed("t", 1, b"", b"x" * 10_000).failure().text) < 1000


def test_tool_is_never_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "imgsec-test-tool"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with refused("tool-missing") as reasons:
        Tools().find("imgsec-test-tool")
    assert "imgsec-test-tool" in reasons[0].hint
    assert Tools(tmp_path).find("imgsec-test-tool") == planted
    assert Tools(tmp_path).find("sh").is_absolute()


def test_program_runs_in_the_folder_and_under_the_name_that_are_given(tmp_path: Path) -> None:
    here = Path.cwd()
    argv = [SH, "-c", "pwd; exit 3"]
    done = run(argv, environment=ENV, timeout=30, name="scanner", folder=tmp_path)
    assert (done.tool, done.stdout.decode().strip()) == ("scanner", str(tmp_path))
    assert "scanner ended with 3" in done.failure().text
    assert Path.cwd() == here
    with refused("timeout") as reasons:
        run([SH, "-c", "sleep 60"], environment=ENV, timeout=0.2, name="scanner")
    assert reasons[0].text.startswith("scanner did not end")
