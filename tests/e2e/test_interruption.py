# SPDX-License-Identifier: Apache-2.0
"""Runs that are ended while the secret key is in their hands, and runs at the same time.

Wrappers in a --tools-dir folder let the tool do its work, say that it is done, and stay.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Bench, SigningKey, traces_in
from tests.support import Ended


@dataclass(frozen=True)
class Trap:
    """A tool that stops where the test wants it; its process writes its id to a pipe."""

    folder: Path
    ready: Path

    def await_ready(self, process: subprocess.Popen[str]) -> int:
        """The id of the tool's process, once it has stopped there."""
        handle = os.open(self.ready, os.O_RDONLY | os.O_NONBLOCK)
        ended = os.pidfd_open(process.pid)
        try:
            content = b""
            while not content.endswith(b"\n"):
                found = select.select([handle, ended], [], [], 60)[0]
                if handle not in found:
                    _, stderr = process.communicate(timeout=5)
                    raise AssertionError(f"the tool was not reached: {stderr}")
                content += os.read(handle, 100)
            return int(content)
        finally:
            os.close(handle)
            os.close(ended)


def trap(folder: Path, tool: str, words: str) -> Trap:
    """A wrapper that stays behind the tool's work if its arguments match the shell pattern."""
    ready = folder / "ready"
    os.mkfifo(ready)
    tools = folder / "tools"
    tools.mkdir()
    script = tools / tool
    script.write_text(
        f"#!/bin/sh\n"
        f'case "$*" in\n'
        f"  {words})\n"
        f'    /usr/bin/{tool} "$@"\n'
        f"    echo $$ >{ready}\n"
        f"    exec sleep 600 ;;\n"
        f"esac\n"
        f'exec /usr/bin/{tool} "$@"\n'
    )
    script.chmod(0o755)
    # A reader that stays, so that the wrapper's write does not wait for one.
    return Trap(tools, ready)


@pytest.fixture
def importing(bench: Bench) -> Iterator[Trap]:
    """gpg stays once the key is imported."""
    made = trap(bench.folder, "gpg", '*--dry-run*) exec /usr/bin/gpg "$@" ;; *--import*')
    holder = os.open(made.ready, os.O_RDWR)
    yield made
    os.close(holder)


@pytest.fixture
def starting(bench: Bench) -> Iterator[Trap]:
    """gpg stays once it said which one it is."""
    made = trap(bench.folder, "gpg", "*--list-config*")
    holder = os.open(made.ready, os.O_RDWR)
    yield made
    os.close(holder)


@pytest.fixture
def generating(bench: Bench) -> Iterator[Trap]:
    """gpg stays once the key is made."""
    made = trap(bench.folder, "gpg", "*--gen-key*|*--generate-key*")
    holder = os.open(made.ready, os.O_RDWR)
    yield made
    os.close(holder)


@pytest.fixture
def signing(bench: Bench) -> Iterator[Trap]:
    """gpg stays once the payload is signed."""
    made = trap(bench.folder, "gpg", "*--local-user*")
    holder = os.open(made.ready, os.O_RDWR)
    yield made
    os.close(holder)


def await_end(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 30)[0], f"process {pid} lives on"
    finally:
        os.close(handle)


def agents(bench: Bench) -> list[int]:
    """The gpg agents of runs in this test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"gpg-agent" in words and str(bench.private).encode() in words:
            found.append(int(path.parent.name))
    return found


def signed(bench: Bench, key: SigningKey, name: str) -> Ended:
    done = bench.imgsec("sign-image", name, "--key", key.location)
    return done.expect(0)


ENDINGS = [
    (signal.SIGTERM, 143),
    (signal.SIGINT, 130),
    (signal.SIGHUP, 129),
    (signal.SIGQUIT, 131),
    (signal.SIGUSR1, 138),
    (signal.SIGXCPU, 152),
]


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_signal_while_the_key_is_imported_leaves_nothing(
    bench: Bench, key: SigningKey, importing: Trap, number: signal.Signals, code: int
) -> None:
    name, digest = bench.push(bench.repository())
    process = bench.imgsec.start(
        "sign-image", name, "--key", key.location, "--tools-dir", importing.folder
    )
    tool = importing.await_ready(process)
    (left,) = bench.private.iterdir()
    assert list((left / "gpg" / "private-keys-v1.d").iterdir())  # the key is there now
    started = [tool, *agents(bench)]
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert bench.leftovers() == []
    for pid in started:
        await_end(pid)
    assert bench.processes() == []
    assert traces_in(bench.folder, key) == []
    assert not [form for form in key.traces() if form in (stdout + stderr).encode()]
    signed(bench, key, name)
    assert len(bench.signatures(name, digest)) == 1


@pytest.mark.parametrize(("number", "code"), ENDINGS[:2])
def test_release_that_is_ended_with_its_key_in_hand_can_be_run_again(
    bench: Bench, key: SigningKey, signing: Trap, number: signal.Signals, code: int
) -> None:
    name, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    words = ("release-image", name, "--to", target, "--key", key.location)
    process = bench.imgsec.start(*words, "--tools-dir", signing.folder)
    tool = signing.await_ready(process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert bench.leftovers() == []
    await_end(tool)
    assert bench.processes() == []
    assert bench.imgsec("resolve", target).code != 0, "no tag names what is not signed"
    bench.imgsec(*words).expect(0)
    assert len(bench.signatures(target, digest)) == 1


@pytest.mark.parametrize(("words", "code"), [((), 143), (("--timeout", "5"), 3)])
def test_gpg_that_hangs_at_its_first_call_does_not_outlive_the_run(
    bench: Bench, key: SigningKey, starting: Trap, words: tuple[str, ...], code: int
) -> None:
    process = bench.imgsec.start(
        *("verify-image", f"{bench.sandbox.registry}/team/app:1", "--key", key.location),
        *("--tools-dir", starting.folder, *words),
    )
    tool = starting.await_ready(process)
    if not words:
        process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert bench.leftovers() == []
    await_end(tool)


def test_key_is_in_no_argument_and_no_environment_of_a_child(
    bench: Bench, key: SigningKey, signing: Trap
) -> None:
    name, _ = bench.push(bench.repository())
    process = bench.imgsec.start(
        "sign-image", name, "--key", key.location, "--tools-dir", signing.folder
    )
    tool = signing.await_ready(process)
    seen = [Path(f"/proc/{pid}") for pid in (process.pid, tool, *agents(bench))]
    try:
        for path in seen:
            words, variables = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
            assert not [form for form in key.traces() if form in words + variables]
            if path != seen[0]:
                secret = bench.sandbox.api_key("manager").encode()
                assert secret not in words + variables
                names = {entry.partition(b"=")[0] for entry in variables.split(b"\0")}
                assert not {
                    name for name in names if name.startswith((b"IMGSEC", b"IBM", b"VAULT"))
                }
    finally:
        process.terminate()
        process.communicate(timeout=30)
    await_end(tool)


@pytest.mark.parametrize(("number", "code"), ENDINGS[:1])
def test_signal_while_gpg_signs_leaves_nothing(
    bench: Bench, key: SigningKey, signing: Trap, number: signal.Signals, code: int
) -> None:
    name, digest = bench.push(bench.repository())
    process = bench.imgsec.start(
        "sign-image", name, "--key", key.location, "--tools-dir", signing.folder
    )
    tool = signing.await_ready(process)
    started = [tool, *agents(bench)]
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert bench.leftovers() == []
    for pid in started:
        await_end(pid)
    signed(bench, key, name)
    assert len(bench.signatures(name, digest)) == 1


def test_signal_while_the_key_is_made_leaves_no_key_anywhere(
    bench: Bench, generating: Trap
) -> None:
    alias = bench.alias()
    words = (
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--render", bench.folder / "out"),
    )
    process = bench.imgsec.start(*words, "--tools-dir", generating.folder)
    tool = generating.await_ready(process)
    started = [tool, *agents(bench)]
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143, stderr
    assert bench.leftovers() == []
    for pid in started:
        await_end(pid)
    assert bench.keys(alias) == {}
    assert not (bench.folder / "out").exists()
    bench.imgsec(*words).expect(0)
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_next_run_sweeps_what_a_killed_run_left(
    bench: Bench, key: SigningKey, importing: Trap
) -> None:
    name, digest = bench.push(bench.repository())
    process = bench.imgsec.start(
        "sign-image", name, "--key", key.location, "--tools-dir", importing.folder
    )
    tool = importing.await_ready(process)
    started = agents(bench)
    process.kill()
    process.communicate(timeout=30)
    os.kill(tool, signal.SIGKILL)  # what the killed run could not do itself
    (left,) = bench.leftovers()
    assert traces_in(bench.private, key)
    bench.imgsec("verify-image", name, "--key", key.location).expect(1, "signature-missing")
    assert bench.leftovers() == []
    assert not (bench.private / left).exists()
    for pid in started:
        await_end(pid)  # an agent ends when its home is gone
    signed(bench, key, name)
    assert len(bench.signatures(name, digest)) == 1


def test_time_limit_ends_the_run_and_leaves_nothing(
    bench: Bench, key: SigningKey, importing: Trap
) -> None:
    name, digest = bench.push(bench.repository())
    process = bench.imgsec.start(
        *("sign-image", name, "--key", key.location, "--tools-dir", importing.folder),
        *("--timeout", "5"),
    )
    tool = importing.await_ready(process)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert "timeout" in stdout
    assert bench.leftovers() == []
    await_end(tool)
    assert bench.signatures(name, digest) == []


def both(bench: Bench, *words: str | Path) -> list[Ended]:
    """Two runs of the same words at once."""
    runs = [bench.imgsec.start(*words, "--output", "json") for _ in range(2)]
    ended = [run.communicate(timeout=90) for run in runs]
    return [
        Ended(run.returncode, stdout, stderr)
        for run, (stdout, stderr) in zip(runs, ended, strict=True)
    ]


def test_two_runs_that_sign_at_once_both_succeed(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    for done in both(bench, "sign-image", name, "--key", key.location):
        done.expect(0)
    count = len(bench.signatures(name, digest))
    assert count in (1, 2)  # whoever comes second may have looked before the first was done
    signed(bench, key, name)
    assert len(bench.signatures(name, digest)) == count
    assert bench.leftovers() == []


def test_two_set_ups_at_once_make_one_key(bench: Bench) -> None:
    alias = bench.alias()
    runs = both(
        bench,
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--render", bench.folder / "out"),
    )
    keys = [done.expect(0).json["key"] for done in runs]
    assert keys[0] == keys[1]
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}
    assert not [name for name in bench.keys("") if name.startswith("no alias")]
    assert bench.leftovers() == []
