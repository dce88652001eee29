# SPDX-License-Identifier: Apache-2.0
"""Start, find and end a sandbox: what commands, tests and the demo call.

From Python:

    with running_sandbox() as sandbox:
        subprocess.run(["skopeo", ...], env={**os.environ, **sandbox.environment})

Everything else about a sandbox is reached over its sockets and files.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imgsec.errors import ImgsecError
from imgsec.reasons import (
    CATALOGUE,
    INPUT_MALFORMED,
    INPUT_UNREADABLE,
    INVALID_OPTION,
    OUTPUT_UNWRITABLE,
    PART_MISSING,
)
from imgsec.sandbox.environment import sandbox_environment
from imgsec.sandbox.faults import load_rules
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import SERVICES, Identity
from imgsec.sandbox.locks import Lock, is_held, wait_until_free
from imgsec.sandbox.seeds import DEFAULT_SCENARIO

_LIBRARIES = ("starlette", "uvicorn", "httptools", "aiohttp", "trustme")  # the group `sandbox`
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_START_LIMIT = 40.0  # seconds; the supervisor gives up before
_STOP_LIMIT = 10.0  # seconds; the supervisor needs at most its own limit
_STEP = 0.1  # seconds between two looks for an interruption


@dataclass(frozen=True, slots=True)
class Options:
    """How to start a sandbox."""

    scenario: Path | None = None
    settings: Mapping[str, int] = field(default_factory=dict)  # of `Settings`, those to change
    new_ports: bool = False
    tools_dir: Path | None = None  # looked into for docker-registry before PATH


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that runs."""

    folder: StateFolder
    identity: Identity

    @property
    def environment(self) -> dict[str, str]:
        """What to add to a program's environment."""
        return sandbox_environment(self.folder, self.identity, os.environ)

    @property
    def registry(self) -> str:
        """Host and port of the registry."""
        return self.identity.registry

    def api_key(self, role: str) -> str:
        """The seeded API key of a role: manager, writer, readerplus, reader, nokms, foreign."""
        return str(json.loads(self.folder.api_keys.read_bytes())[role]["apikey"])


@dataclass(frozen=True, slots=True)
class Status:
    """What `imgsec sandbox status` tells."""

    state: str  # running, degraded, stopped
    directory: str
    reason: str | None
    supervisor: int | None
    services: tuple[dict[str, Any], ...]
    processes: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """With a version, as all JSON that commands print."""
        return {"schemaVersion": 1, **asdict(self)}


@contextlib.contextmanager
def running_sandbox(
    directory: Path | None = None,
    options: Options | None = None,
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Sandbox]:
    """A sandbox for the length of a ``with`` block.

    Without DIRECTORY its state is a temporary folder that goes with it. It also ends when this
    process dies, however that happens. INTERRUPTED is asked while it starts; True gives up.
    """
    temporary = directory is None
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="imgsec-sandbox-"))
    folder = StateFolder(directory.resolve())
    supervisor: subprocess.Popen[bytes] | None = None
    try:
        with _alone(folder):
            _prepare(folder, options or Options())
            if is_held(folder.supervisor_lock):
                raise ImgsecError(
                    PART_MISSING(
                        f"A sandbox is running in {folder.root} already.",
                        hint="Use it with `imgsec sandbox env`, or name another folder.",
                    )
                )
            supervisor = _start(
                folder,
                options or Options(),
                bound=True,
                temporary=temporary,
                interrupted=interrupted,
            )
        yield Sandbox(folder, Identity.load(folder))
    finally:
        if supervisor is not None:
            _end(supervisor)
        if temporary:
            shutil.rmtree(directory, ignore_errors=True)


def up(directory: Path, options: Options) -> tuple[Sandbox, bool]:
    """Start a sandbox that outlives this process; False when it was running already."""
    folder = StateFolder(directory.resolve())
    with _alone(folder):
        _prepare(folder, options)
        if _await_running(folder):
            if options.settings or options.new_ports:
                raise ImgsecError(
                    INVALID_OPTION(
                        f"The sandbox in {folder.root} runs with the settings it started with.",
                        hint="Stop it first: imgsec sandbox down",
                    )
                )
            return Sandbox(folder, Identity.load(folder)), False
        _start(folder, options, bound=False, temporary=False, interrupted=lambda: False)
    return Sandbox(folder, Identity.load(folder)), True


def down(directory: Path, *, purge: bool) -> bool:
    """End a sandbox and wait until nothing of it is left; False when none was running.

    A folder in which none was ever started is left alone.
    """
    folder = StateFolder(directory.resolve())
    if not (folder.is_sandbox or folder.command_lock.exists()):
        return False
    with _alone(folder):
        was_running = is_held(folder.family_lock)
        deadline = time.monotonic() + _STOP_LIMIT
        while is_held(folder.family_lock) and time.monotonic() < deadline:
            if is_held(folder.supervisor_lock):  # not yet, while an `up` that was killed starts it
                _signal_supervisor(folder, signal.SIGTERM)
            wait_until_free(folder.family_lock, seconds=1.0)
        if is_held(folder.supervisor_lock):
            _signal_supervisor(folder, signal.SIGKILL)
        if not wait_until_free(folder.family_lock, seconds=5.0):
            raise ImgsecError(
                PART_MISSING(f"The sandbox in {folder.root} does not end.", hint="See its logs.")
            )
        folder.clear_runtime()
        if purge:
            folder.purge()
    return was_running


def find(directory: Path) -> Sandbox:
    """The sandbox that runs in DIRECTORY. Raises `ImgsecError` when none does."""
    folder = StateFolder(directory.resolve())
    if not (folder.is_sandbox and is_held(folder.supervisor_lock) and folder.processes.exists()):
        raise ImgsecError(
            PART_MISSING(
                f"No sandbox is running in {folder.root}.", hint="Start it: imgsec sandbox up"
            )
        )
    return Sandbox(folder, Identity.load(folder))


def status(directory: Path) -> Status:
    """How it stands. Looks only, and asks each service whether it answers."""
    folder = StateFolder(directory.resolve())
    if not folder.is_sandbox:
        return Status("stopped", str(folder.root), "No sandbox was started here.", None, (), {})
    identity = Identity.load(folder)
    note = _note(folder)
    if not is_held(folder.family_lock):
        reason = None
        with contextlib.suppress(OSError):
            reason = folder.stop_reason.read_text().strip()
        return Status("stopped", str(folder.root), reason, None, _services(identity, {}), {})
    supervised = is_held(folder.supervisor_lock) and bool(note)
    health = dict.fromkeys(SERVICES, False)
    if supervised:
        from imgsec.sandbox.probe import answers

        health = {name: answers(folder, identity, name, seconds=1.0) for name in SERVICES}
    silent = [name for name, healthy in health.items() if not healthy]
    return Status(
        "degraded" if silent else "running",
        str(folder.root),
        f"No answer from: {', '.join(silent)}." if silent else None,
        note.get("supervisor"),
        _services(identity, health),
        note.get("children", {}),
    )


# --- Inside -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(folder: StateFolder) -> Iterator[None]:
    """Keep other commands on the same folder waiting."""
    folder.open()  # a foreign one gets no lock of ours
    try:
        lock = Lock(folder.command_lock)
        free = lock.acquire(seconds=_START_LIMIT + _STOP_LIMIT)
    except OSError as error:
        raise ImgsecError(
            OUTPUT_UNWRITABLE(
                f"The sandbox cannot write {folder.root}: {error.strerror}.",
                hint="Name a writable folder with --dir or IMGSEC_SANDBOX_DIR.",
            )
        ) from error
    try:
        if not free:
            raise ImgsecError(
                PART_MISSING(f"Another command is busy with the sandbox in {folder.root}.")
            )
        yield
    finally:
        lock.close()


def _prepare(folder: StateFolder, options: Options) -> None:
    """Check and place what can be wrong before anything is started."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise ImgsecError(
            PART_MISSING(
                f"The sandbox needs Python packages that are not installed: {', '.join(missing)}.",
                hint="Install them: pip install 'imgsec[sandbox]'",
            )
        )
    folder.open()
    load_rules(folder)
    if options.scenario is not None:
        try:
            content = options.scenario.read_bytes()
        except OSError as error:
            raise ImgsecError(
                INPUT_UNREADABLE(
                    f"The scenario {options.scenario} cannot be read: {error.strerror}."
                )
            ) from error
        _check_scenario(options.scenario, content)
        folder.write(folder.scenario, content)
    elif folder.scenario.exists():
        _check_scenario(folder.scenario, folder.scenario.read_bytes())


def _check_scenario(path: Path, content: bytes) -> None:
    if content == DEFAULT_SCENARIO.read_bytes():
        return
    from imgsec.sandbox.advisor.scenario import Scenario

    try:
        Scenario.parse(content)
    except ValueError as error:
        raise ImgsecError(
            INPUT_MALFORMED(f"{path} is not a scenario: {error}.", hint="See docs/sandbox.md.")
        ) from error


def _start(
    folder: StateFolder,
    options: Options,
    *,
    bound: bool,
    temporary: bool,
    interrupted: Callable[[], bool],
) -> subprocess.Popen[bytes]:
    """Start the supervisor and wait for its word. BOUND ties its life to this process.

    It is born with the family's lock, so that whoever comes after a kill of this process knows.
    """
    family = Lock(folder.family_lock)
    if not family.acquire(seconds=_STOP_LIMIT):
        family.close()
        raise ImgsecError(
            PART_MISSING(f"Processes of an earlier sandbox in {folder.root} do not end.")
        )
    reader, writer = os.pipe()
    argv = [sys.executable, "-P", "-m", "imgsec.sandbox.supervisor"]
    argv += ["--dir", str(folder.root), "--report", str(writer)]
    argv += ["--family", str(family.descriptor)]
    argv += ["--settings", json.dumps(dict(options.settings))]
    argv += ["--new-ports"] * options.new_ports + ["--lifeline"] * bound
    argv += ["--temporary"] * temporary
    try:
        with folder.open_log("supervisor") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if bound else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_child_environment(options.tools_dir),
                cwd="/",
                pass_fds=(writer, family.descriptor),
                start_new_session=True,
            )
    except OSError as error:
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"The sandbox cannot start in {folder.root}: {error}.")
        ) from error
    finally:
        os.close(writer)
        family.close()
    try:
        _await_report(reader, folder, interrupted)
    except BaseException:
        _end(process)
        raise
    finally:
        os.close(reader)
    return process


def _await_report(reader: int, folder: StateFolder, interrupted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_LIMIT
    line = b""
    while not line.endswith(b"\n"):
        if interrupted():
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            raise ImgsecError(PART_MISSING("The sandbox does not start.", hint=_see_logs(folder)))
        if select.select([reader], [], [], _STEP)[0]:
            chunk = os.read(reader, 65536)
            if not chunk:
                raise ImgsecError(
                    PART_MISSING("The sandbox's supervisor died.", hint=_see_logs(folder))
                )
            line += chunk
    answer = json.loads(line)
    if answer:
        raise ImgsecError(CATALOGUE[answer["code"]](answer["text"], hint=answer["hint"]))


def _await_running(folder: StateFolder) -> bool:
    """True when a sandbox runs here and answers, False when none does.

    One that is still starting, or just ending, is waited for.
    """
    deadline = time.monotonic() + _START_LIMIT
    while is_held(folder.family_lock):
        if is_held(folder.supervisor_lock) and folder.processes.exists():
            from imgsec.sandbox.probe import answers

            identity = Identity.load(folder)
            if all(answers(folder, identity, name, seconds=1.0) for name in SERVICES):
                return True
        if time.monotonic() > deadline:
            raise ImgsecError(
                PART_MISSING(
                    f"The sandbox in {folder.root} runs but does not answer.",
                    hint="Stop it: imgsec sandbox down",
                )
            )
        time.sleep(_STEP)
    return False


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    """End a supervisor that is our own child, and wait for it."""
    if supervisor.stdin is not None:
        supervisor.stdin.close()
    else:
        supervisor.terminate()
    try:
        supervisor.wait(_STOP_LIMIT)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _signal_supervisor(folder: StateFolder, number: signal.Signals) -> None:
    """Signal whoever holds the lock. The pid is looked at again after it was pinned."""
    pid = _note(folder).get("supervisor")
    if pid is None:
        time.sleep(_STEP)  # it is still starting
        return
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, number)
            return
        pinned = os.pidfd_open(pid)
        try:
            if is_held(folder.supervisor_lock) and _note(folder).get("supervisor") == pid:
                signal.pidfd_send_signal(pinned, number)
        finally:
            os.close(pinned)


def _note(folder: StateFolder) -> dict[str, Any]:
    try:
        value = json.loads(folder.processes.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _services(identity: Identity, health: dict[str, bool]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "name": name,
            "url": identity.url(name),
            "port": identity.ports[name],
            "answers": health.get(name, False),
        }
        for name in SERVICES
        if name in identity.ports
    )


def _child_environment(tools_dir: Path | None) -> dict[str, str]:
    """Little, so that nothing that lies around bends the services."""
    kept = {
        name: value
        for name in ("HOME", "PATH", "LANG", "LC_ALL", "TMPDIR", "IMGSEC_TOOLS_DIR")
        if (value := os.environ.get(name)) is not None
    }
    if tools_dir is not None:
        kept["IMGSEC_TOOLS_DIR"] = str(tools_dir)
    path = [str(_PACKAGE_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # The services trust nobody, and aiohttp spends 0.2 s on the system's CAs while it loads.
    nobody = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
    return {**kept, **nobody, "PYTHONPATH": os.pathsep.join(path)}


def _see_logs(folder: StateFolder) -> str:
    return f"See {folder.root}/logs."
