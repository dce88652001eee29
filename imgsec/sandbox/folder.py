# SPDX-License-Identifier: Apache-2.0
"""The one folder that a sandbox lives in: which file lies where, and whether it is ours.

Nothing here starts or talks to anything, and nothing decides what a file holds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgsec.errors import ImgsecError
from imgsec.reasons import FOREIGN_OBJECT, INPUT_UNREADABLE, OUTPUT_UNWRITABLE

MARKER = "sandbox.json"  # its presence says: this folder belongs to a sandbox
PLACED_BEFOREHAND = frozenset({"faults.json", "scenario.yaml"})  # a user may put these in first
SOCKET_PATH_MAX = 100  # bytes; sun_path holds 108 with its end mark, some kernels less


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The files of one sandbox. All are private to their owner: 0700 and 0600."""

    root: Path

    @property
    def marker(self) -> Path:
        """Identity, ports and settings."""
        return self.root / MARKER

    @property
    def api_key(self) -> Path:
        """The Manager's API key, alone."""
        return self.root / "apikey"

    @property
    def api_keys(self) -> Path:
        """Every seeded API key, by role."""
        return self.root / "apikeys.json"

    @property
    def cr_token(self) -> Path:
        """A service account token for the compute-resource grant."""
        return self.root / "cr-token"

    @property
    def auth_file(self) -> Path:
        """Registry credentials as skopeo and podman read them."""
        return self.root / "auth.json"

    @property
    def ca(self) -> Path:
        """The certificate to trust. Its private half is thrown away at birth."""
        return self.root / "ca.pem"

    @property
    def server_certificate(self) -> Path:
        """Private key and chain of all services."""
        return self.root / "tls.pem"

    @property
    def token_key(self) -> Path:
        """What access tokens are signed with."""
        return self.root / "token.key"

    @property
    def faults(self) -> Path:
        """Fault switches; read again whenever they change."""
        return self.root / "faults.json"

    @property
    def scenario(self) -> Path:
        """What the advisor finds in which image; read again whenever it changes."""
        return self.root / "scenario.yaml"

    @property
    def registry_data(self) -> Path:
        """Blobs and manifests, as docker-registry keeps them."""
        return self.root / "data" / "registry"

    def database(self, name: str) -> Path:
        """The SQLite file of one service."""
        return self.root / "data" / f"{name}.sqlite"

    def log(self, process: str) -> Path:
        """What a process printed."""
        return self.root / "logs" / f"{process}.log"

    def open_log(self, process: str) -> BinaryIO:
        """Open that file for more, as the standard error of a process."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.fdopen(os.open(self.log(process), flags, 0o600), "ab", buffering=0)

    def access_log(self, service: str) -> Path:
        """One JSON object per answered request."""
        return self.root / "logs" / f"{service}.access.jsonl"

    @property
    def stop_reason(self) -> Path:
        """Why the sandbox ended by itself, when it did."""
        return self.root / "logs" / "stopped.txt"

    @property
    def run(self) -> Path:
        """Sockets and pids of a running sandbox; empty otherwise."""
        return self.root / "run"

    @property
    def processes(self) -> Path:
        """What runs now, written by the supervisor once everything answers."""
        return self.run / "processes.json"

    @property
    def runtime_pointer(self) -> Path:
        """Names the folder of the sockets when this one's path is too long for them."""
        return self.run / "runtime"

    @property
    def command_lock(self) -> Path:
        """Held while `up` or `down` works, so that two of them do not race."""
        return self.root / "command.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def family_lock(self) -> Path:
        """Held jointly by the supervisor and all its children: free means that all are gone."""
        return self.root / "family.lock"

    def open(self) -> None:
        """Make the folder, or accept it if it is ours.

        A folder that holds anything else is refused: the sandbox sets modes and, with
        ``--purge``, deletes.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.root.stat()
            names = {entry.name for entry in self.root.iterdir()}
        except OSError as error:
            raise _unwritable(self.root, error) from error
        if found.st_uid != os.geteuid():
            raise ImgsecError(
                FOREIGN_OBJECT(
                    f"{self.root} belongs to another user.",
                    hint="Name a folder of your own with --dir or IMGSEC_SANDBOX_DIR.",
                )
            )
        self._require_own(names)
        try:
            if stat.S_IMODE(found.st_mode) != 0o700:
                self.root.chmod(0o700)
            for part in ("logs", "data", "run"):
                (self.root / part).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.root, error) from error

    @property
    def is_sandbox(self) -> bool:
        """True when a sandbox was born here. Raises `ImgsecError` (input-unreadable)."""
        try:
            return self.marker.is_file()
        except OSError as error:
            raise ImgsecError(
                INPUT_UNREADABLE(
                    f"The folder {self.root} cannot be looked at: {error.strerror or error}.",
                    hint="Name a folder of your own with --dir or IMGSEC_SANDBOX_DIR.",
                )
            ) from error

    def _require_own(self, names: set[str]) -> None:
        if not self.is_sandbox and not names <= PLACED_BEFOREHAND | self._own_beginnings():
            raise ImgsecError(
                FOREIGN_OBJECT(
                    f"{self.root} holds files that are not a sandbox's.",
                    hint="Name an empty or new folder with --dir or IMGSEC_SANDBOX_DIR.",
                )
            )

    def _own_beginnings(self) -> frozenset[str]:
        """What a first start leaves when it is killed before the marker is written."""
        locks = (self.command_lock, self.supervisor_lock, self.family_lock)
        return frozenset({"logs", "data", "run", *(lock.name for lock in locks)})

    def write(self, path: Path, content: str | bytes) -> None:
        """Put CONTENT at PATH in one step, readable for the owner only."""
        data = content.encode() if isinstance(content, str) else content
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:  # mkstemp gives 0600
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unwritable(path, error) from error

    def open_runtime(self) -> Path:
        """Give the folder for sockets: `run`, or a short one elsewhere if the path is too long."""
        longest = self.run / "registry.sock"
        if len(os.fsencode(longest)) <= SOCKET_PATH_MAX:
            return self.run
        short = Path(tempfile.mkdtemp(prefix="imgsec-", dir="/tmp"))
        self.write(self.runtime_pointer, str(short))
        return short

    def clear_runtime(self) -> None:
        """Remove sockets and notes of a sandbox that no longer runs. Never raises."""
        with contextlib.suppress(OSError):
            elsewhere = Path(self.runtime_pointer.read_text())
            if elsewhere.name.startswith("imgsec-") and elsewhere.parent == Path("/tmp"):  # noqa: S108
                shutil.rmtree(elsewhere, ignore_errors=True)
        with contextlib.suppress(OSError):
            for entry in self.run.iterdir():
                entry.unlink(missing_ok=True)

    def purge(self) -> None:
        """Remove everything; also what is left of a first start that was killed.

        Raises `ImgsecError` (foreign-object, output-unwritable).
        """
        try:
            self._require_own({entry.name for entry in self.root.iterdir()})
            shutil.rmtree(self.root)
        except OSError as error:
            raise _unwritable(self.root, error) from error


def default_directory() -> Path:
    """Where the sandbox lives unless told otherwise (XDG base directories).

    >>> import os
    >>> os.environ["XDG_STATE_HOME"] = "/var/state"
    >>> str(default_directory())
    '/var/state/imgsec/sandbox'
    """
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state, "imgsec", "sandbox")
    return Path(os.environ.get("HOME") or "/", ".local", "state", "imgsec", "sandbox")


def _unwritable(path: Path, error: OSError) -> ImgsecError:
    return ImgsecError(
        OUTPUT_UNWRITABLE(
            f"The sandbox cannot write {path}: {error.strerror or error}.",
            hint="Name a writable folder with --dir or IMGSEC_SANDBOX_DIR.",
        )
    )
