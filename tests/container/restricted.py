# SPDX-License-Identifier: Apache-2.0
"""Runs a program in an image's file system as the restricted security context of a cluster does.

A random UID of group 0 that no passwd entry names, no capability, no new privileges, a read-only
root with HOME=/. Left writable is what a pod has: its own /dev/shm, and a volume on /mnt. The
network is this machine's, so that the sandbox on loopback can be reached.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UID = 1000660000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# $1: the image's root, $2: the volume; the rest: the command. In a mount namespace of its own.
_ENTER = """
set -eu
root=$1 volume=$2
shift 2
mount --bind "$root" "$root"
mount --types proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --types tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
mount --bind "$volume" "$root/mnt"
mount -o remount,bind,ro "$root"
cd "$root"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Pod:
    """A root file system and a volume; runs one command after the other."""

    root: Path
    volume: Path
    uid: int = UID

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. environment: what it sees besides PATH and HOME."""
        variables = {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8", **(environment or {})}
        return subprocess.run(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter"),
                *(str(self.root), str(self.volume)),
                *("setpriv", "--reuid", str(self.uid), "--regid", "0", "--clear-groups"),
                *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
                *("env", "--ignore-environment"),
                *(f"{name}={value}" for name, value in variables.items()),
                *command,
            ],
            env={"PATH": PATH},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
