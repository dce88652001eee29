# SPDX-License-Identifier: Apache-2.0
"""What every scanner that imgsec runs is: a program that somebody reviewed, and what it gets.

The file that is hashed is the file that is started. It is opened once. The digest is computed
through that descriptor, and the kernel is told to start what the descriptor names
(``/proc/self/fd/N``), so that a path, link or folder which is replaced in between changes nothing.
What remains: whoever may write into the very file can do so between the last look and the start,
and what the program loads by itself (shared libraries; Go binaries have none) is not looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgsec.adapters._process import Tools
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile
from imgsec.adapters.report_files import Freshness
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION, SCANNER_MISMATCH, SCANNER_UNPINNED, TOOL_MISSING

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """What a scanner's file must be. sha256: None for any file, which the operator then allows."""

    sha256: str | None

    @classmethod
    def parse(cls, sha256: str | None, *, allow_unpinned: bool) -> Pin:
        """Raises `ImgsecError` (invalid-option, scanner-unpinned)."""
        if sha256 is None and not allow_unpinned:
            raise ImgsecError(SCANNER_UNPINNED("no digest of the scanner was given"))
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            text = f"--scanner-sha256 {shown(sha256)} is not 64 lower-case hexadecimal digits"
            raise ImgsecError(INVALID_OPTION(text))
        return cls(sha256)


@dataclass(frozen=True, slots=True)
class PinnedProgram:
    """An open program; a process that was forked may start it as well.

    state: of the file before it was hashed; the kernel changes it with every write.
    """

    path: Path
    sha256: str
    is_pinned: bool
    descriptor: int
    state: tuple[int, ...]

    @property
    def start_path(self) -> str:
        """What to start in place of the path, with the descriptor passed on."""
        return f"/proc/self/fd/{self.descriptor}"

    def require_unchanged(self) -> None:
        """Raises `ImgsecError` (scanner-mismatch) if the file was written to since."""
        if _state(self.descriptor) != self.state:
            text = f"{self.path} was changed after its digest was checked"
            raise ImgsecError(SCANNER_MISMATCH(text))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a scanner gets. room: a folder for what is large; secrets: for the credential.

    cache: the scanner's database, prepared by the operator; None to have it download one.
    """

    tools: Tools
    room: PrivateDir
    secrets: PrivateDir
    auth_file: AuthFile | None
    ca_file: str | None
    cache: str | None
    freshness: Freshness


@contextmanager
def opened_program(path: Path, pin: Pin) -> Iterator[PinnedProgram]:
    """The program, for the life of the block. Raises (scanner-mismatch, tool-missing)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImgsecError(TOOL_MISSING(f"{path} cannot be read: {error.strerror}")) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ImgsecError(TOOL_MISSING(f"{path} is not a regular file"))
        state = _state(descriptor)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if pin.sha256 is not None and sha256 != pin.sha256:
            text = f"{path} has the sha256 {sha256}, and not the one that was pinned"
            raise ImgsecError(SCANNER_MISMATCH(text))
        os.set_inheritable(descriptor, True)
        program = PinnedProgram(path, sha256, pin.sha256 is not None, descriptor, state)
        program.require_unchanged()
        yield program
    finally:
        os.close(descriptor)


def _state(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
