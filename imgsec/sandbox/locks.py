# SPDX-License-Identifier: Apache-2.0
"""Locks that the kernel lets go of when their last holder dies, however it dies.

A pid in a file may long belong to somebody else; a held lock cannot. Not a queue and not for
threads.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_STEP = 0.01  # seconds between two tries


class Lock:
    """An exclusive flock. Processes that inherit `descriptor` hold it together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = self._open()

    def acquire(self, *, seconds: float) -> bool:
        """Take the lock; False when somebody else kept it for so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current():
                    return True
                os.close(self.descriptor)  # the file was removed while we waited
                self.descriptor = self._open()
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_STEP)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of it, unless another process inherited it."""
        os.close(self.descriptor)


def is_held(path: Path) -> bool:
    """True while a living process holds the lock at PATH. Looks only; creates nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_until_free(path: Path, *, seconds: float) -> bool:
    """Wait for the last holder to go; False when one remains after SECONDS."""
    deadline = time.monotonic() + seconds
    while is_held(path):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP)
    return True
