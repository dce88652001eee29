# SPDX-License-Identifier: Apache-2.0
"""What a restricted pod gives a process, on this machine, where bubblewrap can do that.

A read-only root without /tmp, with nothing in it but what an image holds; the volumes where the
step mounts them, read-only where it says so; a /dev/shm of its own; a UID that no passwd entry
names, in group 0, without any capability.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UID = 1000660000
_SYSTEM = tuple(Path("/", name) for name in "bin etc lib lib32 lib64 opt sbin usr var".split())


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder of this machine, and where the process sees it."""

    path: str
    folder: Path
    read_only: bool = False


def confined(argv: list[str], binds: Iterable[Bind]) -> list[str]:
    """The command line that runs another one in a pod."""
    words = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"]
    for path in _SYSTEM:
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for bind in binds:
        words += ["--ro-bind" if bind.read_only else "--bind", str(bind.folder), bind.path]
    words += ["--remount-ro", "/", "--chdir", "/", "--die-with-parent"]
    words += ["--unshare-user", "--uid", str(UID), "--gid", "0"]
    return [shutil.which("bwrap") or "bwrap", *words, "--", *argv]


@cache
def can_confine() -> bool:
    """Whether bubblewrap is here, and may make namespaces."""
    try:
        done = subprocess.run(confined(["true"], []), timeout=10, check=False)
    except OSError:
        return False
    return done.returncode == 0
