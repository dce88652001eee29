# SPDX-License-Identifier: Apache-2.0
"""The door to other programs: absolute paths, argument lists, an explicit environment, an end.

`run` starts them with `sh`. Its own ``_timeout`` adds 100 ms to every run, its ``wait(timeout)``
25 ms, its ``_done`` up to a second (all of them poll; measured with sh 2.4). Its plain ``wait``
does not, so the limit is kept here, by a timer that kills. `run_briefly` is for those that take
milliseconds and run for every signature: sh needs 9 ms for what subprocess does in 1.6.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgsec.domain.keys import SecretBytes
from imgsec.errors import ImgsecError
from imgsec.reasons import TIMEOUT, TOOL_FAILED, TOOL_MISSING, Reason

# Searched in this order, and PATH never: an earlier pipeline step could have put anything there.
_TOOL_DIRS = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/sbin")
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_SHOWN_CHARS = 600
_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.005
_ANY_EXIT_CODE = range(-64, 256)  # a signal's number is negative; the caller judges
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)


@dataclass(frozen=True, slots=True)
class Tools:
    """Finds programs. extra: a folder to look in first, named by the operator."""

    extra: Path | None = None

    def find(self, name: str) -> Path:
        """The absolute path of a program. Raises `ImgsecError` (tool-missing)."""
        folders = ([self.extra] if self.extra else []) + [Path(folder) for folder in _TOOL_DIRS]
        for folder in folders:
            candidate = folder.absolute() / name
            if candidate.is_file():
                return candidate
        raise ImgsecError(
            TOOL_MISSING(
                f"{name} is not installed",
                hint=f"Install {name} in a folder of the system, or name its own: --tools-dir.",
            )
        )


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ran to its end; exit_code is negative for a signal."""

    tool: str
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it printed on standard error: printable, its end where it is long."""
        text = self.stderr.decode("utf-8", "replace")
        text = re.sub(r"[^\x20-\x7e\n]", "?", text).strip()
        return text if len(text) <= _SHOWN_CHARS else "..." + text[-_SHOWN_CHARS:]

    def failure(self) -> Reason:
        """The reason (tool-failed) that says how it ended."""
        said = f": {self.message}" if self.message else ""
        return TOOL_FAILED(f"{self.tool} ended with {self.exit_code}{said}")

    def require_success(self) -> Completed:
        """Itself. Raises `ImgsecError` (tool-failed) unless it ended with 0."""
        if self.exit_code != 0:
            raise ImgsecError(self.failure())
        return self


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    stdin: bytes = b"",
    pass_fds: Sequence[int] = (),
    ends_with_us: bool = False,
    name: str | None = None,
    folder: Path | None = None,
) -> Completed:
    """Run a program to its end; nothing of it outlives this call.

    argv: the absolute path and the arguments. timeout: seconds. pass_fds: descriptors that it
    inherits besides the three standard ones. ends_with_us: the kernel ends it if this process is
    killed, for one that takes long. name: what messages call it, where its path does not say.
    folder: its working directory. Raises `ImgsecError` (tool-missing, timeout).
    """
    import sh

    tool = name or Path(argv[0]).name
    overdue = threading.Event()
    process: Any = None
    limit: threading.Timer | None = None
    try:
        with signals_wait():
            process = sh.Command(argv[0])(
                *argv[1:],
                _in=stdin,
                _env=dict(environment),
                _pass_fds=set(pass_fds),
                _cwd=None if folder is None else str(folder),
                _ok_code=list(_ANY_EXIT_CODE),
                _tty_out=False,
                _new_session=True,
                _preexec_fn=_die_with_parent() if ends_with_us else None,
                _bg=True,
                _bg_exc=False,
            )
        limit = threading.Timer(timeout, _expire, (process, overdue))
        limit.daemon = True
        limit.start()
        process.wait()
    except (sh.CommandNotFound, OSError) as error:
        raise ImgsecError(TOOL_MISSING(f"{tool} cannot be started: {error}")) from error
    except BaseException:
        if process is not None:
            _kill(process)
            process.wait()
        raise
    finally:
        if limit is not None:
            limit.cancel()
    if overdue.is_set():
        raise ImgsecError(TIMEOUT(f"{tool} did not end within {timeout:g} s"))
    return Completed(tool, process.exit_code, process.stdout, process.stderr)


def run_briefly(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    stdin: bytes = b"",
    pass_fds: Sequence[int] = (),
) -> Completed:
    """The same, for a program that takes milliseconds, such as gpg. Raises what `run` does."""
    tool = Path(argv[0]).name
    process: subprocess.Popen[bytes] | None = None
    try:
        with signals_wait():
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        stdout, stderr = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        raise ImgsecError(TIMEOUT(f"{tool} did not end within {timeout:g} s")) from None
    except OSError as error:
        if process is not None:
            _end(process)
        raise ImgsecError(TOOL_MISSING(f"{tool} cannot be started: {error}")) from error
    except BaseException:
        _end(process)
        raise
    return Completed(tool, process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a program with everything that it started; let go of what it has not read."""
    if process is None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    process.wait()


def await_ends(pids: Iterable[int], seconds: float) -> None:
    """Wait until these processes have ended, children of ours or not, but no longer than that."""
    until = time.monotonic() + seconds
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except (OSError, AttributeError):  # an old kernel, or one that a filter hides
            while _is_alive(pid) and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
            continue
        try:
            select.select([handle], [], [], max(0.0, until - time.monotonic()))
        finally:
            os.close(handle)


def _is_alive(pid: int) -> bool:
    """Not so for one that has ended and that nobody has asked for yet: it has no words."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def proxy_variables() -> dict[str, str]:
    """What a child sees of our environment to reach the network; never a proxy for loopback."""
    passed = {name: os.environ[name] for name in _PROXY_VARIABLES if os.environ.get(name)}
    if passed:
        named = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        passed["NO_PROXY"] = ",".join(filter(None, [named, "127.0.0.1", "localhost"]))
    return passed


@contextmanager
def pipe_with(secret: SecretBytes | None) -> Iterator[int | None]:
    """A descriptor from which a program reads the secret, once; None for none.

    A pipe takes it at once: it is shorter than any pipe's buffer.
    """
    if secret is None:
        yield None
        return
    reading, writing = os.pipe()
    try:
        os.write(writing, secret.reveal())
        os.close(writing)
        os.set_inheritable(reading, True)
        yield reading
    finally:
        os.close(reading)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that come during the block are delivered after it.

    For the moment in which a child runs already and nobody holds its name: a handler that raises
    there would leave it behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    kept = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in _ENDING_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for one in came:
            signal.raise_signal(one)


def _die_with_parent() -> Callable[[], None]:
    """What a child does before it becomes another program, so that it does not survive us.

    Linux, prctl(2), PR_SET_PDEATHSIG: when the thread ends that started it.
    """
    import ctypes

    library = ctypes.CDLL(None)
    ours = os.getpid()

    def prepare() -> None:
        library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != ours:  # it has ended already
            os._exit(1)

    return prepare


def _expire(process: Any, overdue: threading.Event) -> None:
    overdue.set()
    _kill(process)


def _kill(process: Any) -> None:
    """Kill a program with everything that it started, if there is any left."""
    with suppress(ProcessLookupError):
        process.kill_group()
