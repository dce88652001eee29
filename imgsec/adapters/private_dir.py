# SPDX-License-Identifier: Apache-2.0
"""The one private directory of a run: the only place where a secret key exists.

Mode 0700, on memory-backed storage where the machine has it, with a path short enough for the
agent's socket. Removed on every way out that can be caught. What a killed run left is removed by
the next run of the same user: a directory whose lock is free has no owner any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgsec.adapters._cleanup import surely
from imgsec.errors import ImgsecError
from imgsec.reasons import STORAGE_UNAVAILABLE

_PREFIX = "imgsec-run-"
_UNBORN_PREFIX = f".{_PREFIX}"  # until its lock is held; only then may another run look at it
_NAME = re.compile(rf"\.?{_PREFIX}[a-z0-9_]{{8}}")  # as mkdtemp makes it, and nothing near it
_UNBORN_MAX_AGE_SECONDS = 60
_REMOVE_ATTEMPTS = 20
_REMOVE_PAUSE_SECONDS = 0.05
_MODE = 0o700
GPG_HOME_MAX_CHARS = 86  # gpg 2.2: 108 bytes for a socket's address, less its longest suffix
_DIR_MAX_CHARS = GPG_HOME_MAX_CHARS - len("/gpg")
_MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class PrivateDir:
    """An open private directory. in_memory: it lies on memory-backed storage.

    swept: how many directories of dead runs were removed before it was made.
    """

    path: Path
    in_memory: bool
    swept: int = 0

    def folder(self, name: str) -> Path:
        """A folder in it, made when missing, mode 0700. Raises (storage-unavailable)."""
        folder = self.path / name
        try:
            folder.mkdir(mode=_MODE, exist_ok=True)
        except OSError as error:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"{folder}: {error.strerror}")) from None
        return folder


@contextlib.contextmanager
def private_dir(*, roomy: bool = False) -> Iterator[PrivateDir]:
    """A private directory for the life of the block. Raises `ImgsecError` (storage-unavailable).

    roomy: on a disk where there is one, for what is large and no secret: memory-backed storage of
    a container has 64 MiB as a rule.
    """
    _forbid_dumps()
    usable = _usable()
    if roomy:
        usable.sort(key=_is_memory)
    base = usable[0] if roomy and usable else _base(usable)
    swept = sum(map(sweep, dict.fromkeys(usable)))
    try:
        unborn = Path(tempfile.mkdtemp(prefix=_UNBORN_PREFIX, dir=base))
        lock = _locked(unborn)
        path = unborn.rename(base / unborn.name.removeprefix("."))
    except OSError as error:
        raise ImgsecError(STORAGE_UNAVAILABLE(f"{base} cannot hold the key: {error}")) from error
    try:
        yield PrivateDir(path, _is_memory(base), swept)
    finally:
        surely(lambda: _remove(path))
        os.close(lock)


def _forbid_dumps() -> None:
    """A dump of this process, or of one that it starts, would hold the key.

    A limit of 1 means none at all, also where the kernel hands dumps to a program, which a limit of
    0 does not keep from it (Linux, core(5) and fs/coredump.c).
    """
    for limit in (1, 0):
        with contextlib.suppress(ValueError, OSError):  # above a hard limit of 0
            resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
            return


def _remove(path: Path) -> None:
    """Remove it with everything in it; a process that is just ending may still add a file."""
    for _ in range(_REMOVE_ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_REMOVE_PAUSE_SECONDS)
    raise ImgsecError(STORAGE_UNAVAILABLE(f"{path} held the key and cannot be removed"))


def sweep(base: Path) -> int:
    """Remove what dead runs of this user left below base; how many directories that were."""
    removed = 0
    for path in [*base.glob(_PREFIX + "*"), *base.glob(_UNBORN_PREFIX + "*")]:
        try:
            state = path.lstat()
            ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid()
            if not ours or stat.S_IMODE(state.st_mode) != _MODE or not _NAME.fullmatch(path.name):
                continue
            age = time.time() - state.st_mtime
            if path.name.startswith(".") and age < _UNBORN_MAX_AGE_SECONDS:
                continue
            lock = _locked(path)
        except OSError:
            continue  # it is in use, or was removed by its owner in between
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        removed += 1
    return removed


def _locked(path: Path) -> int:
    """The descriptor of the directory's lock. Raises `OSError` when a live run holds it."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _usable() -> list[Path]:
    """Where a private directory could be, the best place first."""
    return [
        Path(name)
        for name in (
            os.environ.get("XDG_RUNTIME_DIR", ""),
            "/dev/shm",  # noqa: S108 - made with mkdtemp, mode 0700
            os.environ.get("TMPDIR", ""),
            "/tmp",  # noqa: S108 - likewise
        )
        if name.startswith("/") and os.access(name, os.W_OK | os.X_OK) and _fits(name)
    ]


def _base(usable: list[Path]) -> Path:
    for path in usable:
        if _is_memory(path):
            return path
    if usable:
        return usable[0]
    raise ImgsecError(STORAGE_UNAVAILABLE("no directory for the private key is writable"))


def _fits(base: str) -> bool:
    return len(f"{base}/{_PREFIX}{'x' * 8}") <= _DIR_MAX_CHARS


def _is_memory(path: Path) -> bool:
    """Whether the path lies on a file system that never reaches a disk (except as swap)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    real, kind, longest = os.path.realpath(path), "", -1
    for line in mounts.splitlines():
        _, point, filesystem, *_ = line.split(" ")
        inside = point in ("/", real) or real.startswith(point + "/")
        if inside and len(point) >= longest:
            kind, longest = filesystem, len(point)
    return kind in _MEMORY_FILESYSTEMS
