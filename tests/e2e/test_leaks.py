# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a secret key go: every write and every exec of a run, as strace sees them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Bench, SigningKey
from tests.support import CommandLine, Ended

pytestmark = pytest.mark.once
_CALLS = "execve,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,prctl,prlimit64,setrlimit"
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_TO_A_FILE = re.compile(r"^(?:p?write(?:64|v|v2)?|send(?:to|msg))\(\d+<([^>]*)>")
# What is no file: a pipe between our processes, a socket that is encrypted or an agent's.
_NO_FILE = re.compile(r"(?:pipe|socket|anon_inode|TCP|UNIX)[\w-]*:")


@dataclass(frozen=True)
class Trace:
    """The system calls of a run and of all that it started."""

    lines: tuple[str, ...]

    @classmethod
    def read(cls, prefix: Path) -> Trace:
        files = sorted(prefix.parent.glob(prefix.name + ".*"))
        return cls(tuple(line for path in files for line in path.read_text().splitlines()))

    def started(self) -> Iterator[bytes]:
        """Arguments and environment of every program."""
        for line in self.lines:
            if line.startswith("execve("):
                yield b"\0".join(_strings(line))

    def programs(self) -> set[str]:
        done = [line for line in self.lines if line.startswith("execve(") and line.endswith("= 0")]
        return {Path(os.fsdecode(next(_strings(line)))).name for line in done}

    def written(self) -> Iterator[tuple[str, bytes]]:
        """What was written where: the file's path, and the bytes of one call."""
        for line in self.lines:
            where = _TO_A_FILE.match(line)
            path = _plain(where[1]) if where else ""
            if path and not _NO_FILE.match(path):
                yield path, b"".join(_strings(line))


def _strings(line: str) -> Iterator[bytes]:
    for found in _STRING.finditer(line):
        yield bytes.fromhex(found[1].replace("\\x", ""))


def _plain(path: str) -> str:
    """A path as strace writes it with -xx."""
    return os.fsdecode(bytes.fromhex(path.replace("\\x", ""))) if path[:1] == "\\" else path


def leaks(trace: Trace, key: SigningKey, private: Path) -> list[str]:
    """Files outside the private directories that got a part of the key, and programs that did."""
    needles = re.compile(b"|".join(map(re.escape, key.traces())))
    found = [
        path
        for path, content in trace.written()
        if not path.startswith(f"{private}/")
        and (needles.search(content) or needles.search(b"".join(content.split())))
    ]
    if any(needles.search(words) for words in trace.started()):
        found.append("an argument or a variable of a program")
    return found


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    assert found, "scripts/test installs strace"
    if subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("processes may not be traced here")
    return found


@dataclass(frozen=True)
class Traced:
    """Runs the command line under strace."""

    strace: str
    bench: Bench

    def __call__(self, *words: str | Path) -> tuple[Trace, Ended]:
        return self.run(*CommandLine.argv(*words, "--output", "json"))

    def run(self, *argv: str) -> tuple[Trace, Ended]:
        prefix = self.bench.folder / f"trace-{time.monotonic_ns()}"
        done = subprocess.run(
            [
                *(self.strace, "-ff", "-y", "-v", "-xx", "-s", "10000000"),
                *("-e", f"trace={_CALLS}", "-o", prefix, *argv),
            ],
            env=self.bench.imgsec.variables(),
            cwd=self.bench.imgsec.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Trace.read(prefix), Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def traced(bench: Bench, strace: str) -> Traced:
    return Traced(strace, bench)


def test_the_check_finds_what_it_looks_for(traced: Traced, key: SigningKey) -> None:
    """It sees each form of the key, in a file, in an argument and in a variable."""
    folder = traced.bench.folder
    leak, form = folder / "leak", folder / "form"
    whole, gathered = (
        f"open('{leak}', 'wb').write(open('{form}', 'rb').read())",
        f"import os; os.writev(os.open('{leak}', 65), [open('{form}', 'rb').read()])",
    )
    for trace_of in key.traces():
        form.write_bytes(trace_of)
        for script in (whole, gathered):
            trace = traced.run(sys.executable, "-c", script)[0]
            assert leaks(trace, key, traced.bench.private) == [str(leak)]
    word = key.traces()[-1].decode()
    for argv in (("echo", word), ("env", f"A={word}", "true")):
        assert leaks(traced.run(*argv)[0], key, traced.bench.private)


def test_signing_writes_the_key_nowhere_but_to_its_private_directory(
    traced: Traced, key: SigningKey
) -> None:
    bench = traced.bench
    name, _ = bench.push(bench.repository())
    trace, done = traced("sign-image", name, "--key", key.location)
    done.expect(0)
    assert {"gpg", "gpg-agent", "gpgv"} <= trace.programs()
    assert leaks(trace, key, bench.private) == []
    inside = [path for path, content in trace.written() if path.startswith(f"{bench.private}/")]
    assert any("private-keys-v1.d" in path for path in inside), "the check saw gpg keep the key"
    assert [line for line in trace.lines if "RLIMIT_CORE, {rlim_cur=1, rlim_max=1}" in line]
    assert bench.leftovers() == []


def test_release_writes_the_key_nowhere_but_to_its_private_directory(
    traced: Traced, key: SigningKey
) -> None:
    """Nor does skopeo get it, which copies, or the record, which is signed with it."""
    bench = traced.bench
    name, _ = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    record = bench.folder / "record.json"
    words = ("release-image", name, "--key", key.location, "--to", target)
    trace, done = traced(*words, "--evidence", record, "--sign-evidence")
    done.expect(0)
    assert {"gpg", "gpg-agent", "skopeo"} <= trace.programs()
    assert leaks(trace, key, bench.private) == []
    assert record.with_name("record.json.asc").exists()
    assert bench.leftovers() == []


@pytest.mark.parametrize("source", ["made", "given", "renewed"])
def test_set_up_writes_the_key_nowhere_but_to_its_private_directory(
    traced: Traced, key: SigningKey, source: str
) -> None:
    bench = traced.bench
    alias, out = bench.alias(), bench.folder / "out"
    words: tuple[str | Path, ...] = (
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--render", out, "--algorithm", "rsa4096"),
    )
    if source != "made":
        given = bench.folder / "given.key"
        given.write_bytes(key.secret)
        words = (*words, "--import-key", given)
    if source == "renewed":
        bench.imgsec(*words).expect(0)
        words = ("keys", "renew", alias, "--until", "2099-01-31", "--render", out)
    trace, done = traced(*words)
    done.expect(0)
    held = SigningKey(alias, "", out, bench.keys(alias)[alias])
    assert leaks(trace, held, bench.private) == []
    assert bench.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_that_is_ended_anywhere_leaves_nothing_to_the_next(
    bench: Bench, key: SigningKey, number: signal.Signals
) -> None:
    """At five moments of its life; what only SIGKILL leaves, the next run removes and says so."""
    name, _ = bench.push(bench.repository())
    started = time.monotonic()
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    whole = time.monotonic() - started
    said = 0
    for fifth in range(1, 6):
        name, _ = bench.push(bench.repository())
        process = bench.imgsec.start("sign-image", name, "--key", key.location)
        time.sleep(whole * fifth / 5.5)
        process.send_signal(number)
        process.communicate(timeout=60)
        left = bench.leftovers()
        assert number is signal.SIGKILL or left == []
        again = bench.imgsec("sign-image", name, "--key", key.location).expect(0)
        codes = [note["code"] for note in again.json["notes"]]
        assert ("cleaned-up" in codes) is bool(left)
        said += bool(left)
        assert bench.leftovers() == []
    assert said or number is signal.SIGTERM, "SIGKILL left something at least once"
    patience = time.monotonic() + 20
    while bench.processes() and time.monotonic() < patience:
        time.sleep(0.1)  # an agent ends when its home is gone
    assert bench.processes() == []


def test_what_a_live_run_or_another_user_owns_is_left_alone(bench: Bench, key: SigningKey) -> None:
    living, foreign = (bench.private / f"imgsec-run-{word * 8}" for word in "ab")
    for folder in (living, foreign):
        folder.mkdir(mode=0o700)
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.getuid() == 0:
        os.chown(foreign, 12345, 12345)
    else:
        foreign.chmod(0o755)  # not one of ours either
    try:
        done = bench.imgsec("verify-image", bench.push()[0], "--key", key.location)
        assert "cleaned-up" not in [note["code"] for note in done.json["notes"]]
        assert bench.leftovers() == [living.name, foreign.name]
    finally:
        os.close(lock)


def test_four_at_once_as_a_user_that_nobody_knows(bench: Bench, key: SigningKey) -> None:
    """No passwd entry, HOME=/ that cannot be written, no terminal, a long temporary folder."""
    long = bench.folder / ("long-" * 20)
    long.mkdir()
    names = [bench.push(bench.repository())[0] for _ in range(4)]
    inside = [
        *("bwrap", "--unshare-user", "--uid", "54321", "--gid", "0", "--ro-bind", "/", "/"),
        *("--dev-bind", "/dev", "/dev", "--proc", "/proc"),
        *("--bind", str(bench.private), str(bench.private), "--bind", str(long), str(long)),
        *("--new-session", "--chdir", "/", "--"),
    ]
    running = [
        subprocess.Popen(
            [*inside, *CommandLine.argv("sign-image", name, "--key", key.location)],
            env={**bench.imgsec.variables(), "HOME": "/", "TMPDIR": str(long)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in running:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stdout + stderr
    for name in names:
        bench.imgsec("verify-image", name, "--key", key.location).expect(0)
    assert bench.leftovers() == []
