# SPDX-License-Identifier: Apache-2.0
"""The process that owns a sandbox: opens its ports, starts its children, ends with them.

It holds the supervisor's lock as long as it lives, and shares the family lock with its children,
so that "all are gone" can be asked without trusting a pid. Its children end with it, however it
dies: the Python ones read the end of a pipe, docker-registry gets the kernel's parent-death
signal. When a child ends by itself, the rest is stopped and the reason written down.

Started by `lifecycle`, which reads one JSON line from descriptor ``--report``: ready, or why not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imgsec.errors import ImgsecError
from imgsec.reasons import OUTPUT_UNWRITABLE, PART_MISSING, Reason
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import SERVICES, Identity, bind_all
from imgsec.sandbox.locks import Lock
from imgsec.sandbox.seeds import plant

START_LIMIT = 30.0  # seconds until everything must answer
STOP_LIMIT = 3.0  # seconds that children get to end by themselves
_LOCK_LIMIT = 5.0  # seconds for what is left of a killed predecessor
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_REGISTRY_PROGRAM = "docker-registry"


@dataclass(frozen=True, slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]


class Supervisor:
    """Starts, watches and ends the children."""

    def __init__(
        self, folder: StateFolder, settings: dict[str, int], *, family: int, new_ports: bool
    ) -> None:
        self._folder = folder
        self._family = family
        self._settings = settings
        self._new_ports = new_ports
        self._children: list[_Child] = []
        self._signals, wake = socket.socketpair()
        for end in (self._signals, wake):
            end.setblocking(False)
        self._wake = wake  # kept open
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())

    def start(self) -> None:
        """Bring everything up. Raises `ImgsecError`; call `stop` in any case."""
        folder = self._folder
        if not Lock(folder.supervisor_lock).acquire(seconds=_LOCK_LIMIT):
            raise _part("The sandbox in this folder is running already, or still ending.")
        folder.clear_runtime()
        folder.stop_reason.unlink(missing_ok=True)
        program = _find_registry()
        identity = self._identity()
        sockets = bind_all(identity)
        identity = identity.at_ports(
            {name: sock.getsockname()[1] for name, sock in sockets.items()}
        )
        identity.save(folder)
        runtime = folder.open_runtime()
        advisor = _listen(runtime / "advisor.sock")
        self._start_registry(program, runtime)
        self._start_python(
            "imgsec.sandbox.services",
            runtime,
            {"iam": sockets["iam"], "kms": sockets["kms"], "advisor": advisor},
        )
        self._start_python("imgsec.sandbox.front", runtime, {"registry": sockets["registry"]})
        for sock in (*sockets.values(), advisor):
            sock.close()
        plant(folder, identity)  # while the children still load their modules
        for child in self._children:
            if child.process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.process.stdin.write(b"go\n")
                    child.process.stdin.flush()
        self._await_ready()
        self._probe(identity)
        processes = {child.name: child.process.pid for child in self._children}
        note = {"supervisor": os.getpid(), "children": processes}
        folder.write(folder.processes, json.dumps(note))

    def watch(self, lifeline: int | None) -> str | None:
        """Wait until told to end (gives None) or until a child ends (gives why)."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            if lifeline is not None:
                selector.register(lifeline, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == lifeline:
                        return None
                if set(self._received()) - {signal.SIGCHLD}:
                    return None
                if ended := self._ended():
                    return ended

    def stop(self, *, at_once: bool) -> None:
        """End the children and wait for them; remove the sockets. AT_ONCE: nothing is kept."""
        for child in self._children:
            child.process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT
        for child in self._children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                print(f"{child.name} does not end and is killed", file=sys.stderr)
                child.process.kill()
                child.process.wait()
        self._folder.clear_runtime()

    # --- Inside -------------------------------------------------------------------------------

    def _identity(self) -> Identity:
        folder = self._folder
        identity = Identity.load(folder) if folder.is_sandbox else Identity.new()
        if self._new_ports:
            identity = identity.at_ports({})
        return identity.with_settings(self._settings)

    def _start_registry(self, program: str, runtime: Path) -> None:
        folder = self._folder
        config = runtime / "registry.json"  # YAML reads JSON
        value = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder.registry_data)},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {
                "net": "unix",
                "addr": str(runtime / "registry.sock"),
                "secret": folder.marker.name,  # one process, one user: it protects nothing
            },
        }
        folder.write(config, json.dumps(value))
        self._spawn("docker-registry", [program, "serve", str(config)], (), piped=False)

    def _start_python(self, module: str, runtime: Path, sockets: dict[str, socket.socket]) -> None:
        argv = [sys.executable, "-P", "-m", module]
        argv += ["--dir", str(self._folder.root), "--runtime", str(runtime)]
        for name, sock in sockets.items():
            argv += [f"--{name}", str(sock.fileno())]
        name = module.rpartition(".")[2]
        self._spawn(name, argv, tuple(sock.fileno() for sock in sockets.values()), piped=True)

    def _spawn(
        self, name: str, argv: list[str], descriptors: tuple[int, ...], *, piped: bool
    ) -> None:
        with self._folder.open_log(name) as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                pass_fds=(*descriptors, self._family),
                cwd="/",
                preexec_fn=None if piped else die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - no threads
            )
        self._children.append(_Child(name, process))

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ, "signal")
            for child in self._children:
                if child.process.stdout is not None:
                    selector.register(child.process.stdout, selectors.EVENT_READ, child.name)
            while len(selector.get_map()) > 1:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    waiting = [key.data for key in selector.get_map().values()]
                    raise _part(f"The sandbox did not start in {START_LIMIT:.0f} s: {waiting}.")
                if set(self._received()) - {signal.SIGCHLD}:
                    raise _part("The sandbox was told to end while it started.")
                if ended := self._ended():
                    raise _part(ended)
                for key, _ in events:
                    if key.data != "signal" and os.read(key.fd, 100).startswith(b"ready"):
                        selector.unregister(key.fileobj)

    def _probe(self, identity: Identity) -> None:
        """Ask every service as a client would."""
        from imgsec.sandbox.probe import answers

        for name in SERVICES:
            if not answers(self._folder, identity, name, seconds=5.0):
                raise _part(f"The sandbox's {name} does not answer on its port.")

    def _received(self) -> Iterator[signal.Signals]:
        with contextlib.suppress(BlockingIOError):
            for number in self._signals.recv(4096):
                yield signal.Signals(number)

    def _ended(self) -> str | None:
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                return f"{child.name} ended with {code}. {self._last_words(child.name)}".strip()
        return None

    def _last_words(self, name: str) -> str:
        try:
            lines = self._folder.log(name).read_bytes()[-2000:].decode(errors="replace")
        except OSError:
            return ""
        return "".join(lines.strip().splitlines()[-1:])


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(128)
    return listener


def _find_registry() -> str:
    """Where docker-registry is: in the operator's folder of tools, or else on PATH."""
    folders = (os.environ.get("IMGSEC_TOOLS_DIR"), os.environ.get("PATH"))
    found = shutil.which(_REGISTRY_PROGRAM, path=os.pathsep.join(filter(None, folders)))
    if found is None:
        raise _part(
            f"{_REGISTRY_PROGRAM} is not installed.",
            hint="Install Debian's package docker-registry; ./scripts/demo does so.",
        )
    return str(Path(found).resolve())


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child does before it becomes another program: ask for a signal when we die."""
    import ctypes

    libc, parent = ctypes.CDLL(None), os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return before_exec


def _part(text: str, *, hint: str | None = None) -> ImgsecError:
    return ImgsecError(PART_MISSING(text, hint=hint))


def _run(folder: StateFolder, options: argparse.Namespace) -> int:
    settings = json.loads(options.settings)
    supervisor = Supervisor(folder, settings, family=options.family, new_ports=options.new_ports)
    reason: Reason | None = None
    ended: str | None = None
    try:
        try:
            supervisor.start()
        except ImgsecError as error:
            reason = error.reason
        except OSError as error:
            reason = OUTPUT_UNWRITABLE(f"The sandbox cannot start: {error}.")
        _report(options.report, reason)
        if reason is None:
            ended = supervisor.watch(0 if options.lifeline else None)
    finally:
        supervisor.stop(at_once=options.temporary)
    if why := (reason.text if reason else ended):
        print(why, file=sys.stderr)
        with contextlib.suppress(ImgsecError):
            folder.write(folder.stop_reason, why + "\n")
    if options.temporary:
        shutil.rmtree(folder.root, ignore_errors=True)
    return 1 if why else 0


def _report(descriptor: int, reason: Reason | None) -> None:
    value = {"code": reason.code, "text": reason.text, "hint": reason.hint} if reason else {}
    with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(json.dumps(value).encode() + b"\n")


def main() -> None:
    """Be the supervisor of one sandbox."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--report", type=int, required=True, metavar="FD")
    parser.add_argument("--family", type=int, required=True, metavar="FD", help="held lock")
    parser.add_argument("--settings", default="{}", metavar="JSON")
    parser.add_argument("--new-ports", action="store_true")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    parser.add_argument("--temporary", action="store_true", help="remove the folder at the end")
    options = parser.parse_args()
    for descriptor in (options.report, options.family):
        os.set_inheritable(descriptor, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # `sandbox run` blocks signals for itself
    os.umask(0o077)
    sys.exit(_run(StateFolder(options.dir), options))


if __name__ == "__main__":
    main()
