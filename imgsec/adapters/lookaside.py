# SPDX-License-Identifier: Apache-2.0
"""Signatures beside a registry that keeps none: a folder, or the web server that publishes it.

Laid out as containers tools expect (containers/image, `docs/containers-registries.d.5.md` and
`docker/registries_d.go`): ``BASE/REPOSITORY@ALGORITHM=HEX/signature-N``, with N from 1 and no gaps;
the registry's host is no part of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from imgsec.adapters._http import Http
from imgsec.adapters.files import read_regular
from imgsec.domain.hosts import SignatureAddress
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.signature import SIGNATURE_MAX_BYTES, SIGNATURES_MAX, stored_signature
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    OUTPUT_UNWRITABLE,
    SIGNATURE_STORE_MISSING,
    TOO_MANY_SIGNATURES,
)

_OK, _NOT_FOUND = 200, 404
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644  # whoever serves them reads them as another user


class Lookaside:
    """A store of signatures. read: where consumers look. staging: the folder of new signatures that
    somebody publishes there; None where the folder that consumers read is written itself.
    authorization: the header that the web server wants. needs_tls: except on loopback; with a
    header always.
    """

    def __init__(
        self,
        http: Http,
        read: SignatureAddress,
        staging: SignatureAddress | None = None,
        *,
        authorization: str | None = None,
        needs_tls: bool = True,
    ) -> None:
        self._http = http
        self._needs_tls = needs_tls or authorization is not None
        self._headers = {"Authorization": authorization} if authorization else {}
        self._read = read
        self._staging = staging

    def require(self, *, writable: bool) -> None:
        """Raises `ImgsecError` (signature-store-missing) for a place that is not there."""
        for place in filter(None, (self._read, self._staging)):
            if place.folder is not None and not os.path.isdir(place.folder):
                raise ImgsecError(
                    SIGNATURE_STORE_MISSING(
                        f"the signature store {shown(str(place))} is not a folder",
                        hint="Make the folder, or correct the path.",
                    )
                )
        if not writable:
            return
        target = (self._staging or self._read).folder
        if target is None:
            raise ImgsecError(
                SIGNATURE_STORE_MISSING(
                    f"the signature store {self._read} is read over HTTP, which writes nothing",
                    hint="Name the folder that is published there with --lookaside-staging.",
                )
            )
        if not os.access(target, os.W_OK | os.X_OK):
            raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(target)} cannot be written"))

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """All signatures of a canonical image, those that are staged with them.

        Raises `ImgsecError` (signature-store-missing, signature-invalid, too-many-signatures,
        input-unreadable and what HTTP does).
        """
        self.require(writable=False)
        return tuple(content for _, content in self._numbered(image) if content is not None)

    def store_signature(self, image: ImageReference, signature: bytes) -> None:
        """Keep one more, whatever others there are. Raises `ImgsecError` (output-unwritable)."""
        self.require(writable=True)
        target = (self._staging or self._read).folder
        if target is None:
            raise ValueError("a store that was required is a folder")
        folder = Path(target) / image.lookaside_path
        number = len(self._numbered(image)) + 1
        try:
            _make_folders(Path(target), folder)
            while not _put(folder, number, signature):
                number += 1  # another run was faster
        except OSError as error:
            text = (
                f"the signature of {image.canonical_name} could not be written to {shown(target)}"
            )
            raise ImgsecError(OUTPUT_UNWRITABLE(f"{text}: {error.strerror}")) from None

    def _numbered(self, image: ImageReference) -> list[tuple[int, bytes | None]]:
        """Where one number is in both places it is the same signature, published already.

        None for a signature of another format.
        """
        found: list[tuple[int, bytes | None]] = []
        for number in range(1, SIGNATURES_MAX + 2):
            content = self._one(self._read, image, number)
            if content is None and self._staging is not None:
                content = self._one(self._staging, image, number)
            if content is None:
                return found
            where = f"signature {number} of {image.canonical_name}"
            place = f"{self._read}/{image.lookaside_path}/signature-{number}"
            found.append((number, stored_signature(content, where, place)))
        raise ImgsecError(
            TOO_MANY_SIGNATURES(f"{image.canonical_name} carries more than {SIGNATURES_MAX}")
        )

    def _one(self, place: SignatureAddress, image: ImageReference, number: int) -> bytes | None:
        path = f"{image.lookaside_path}/signature-{number}"
        if place.folder is None:
            return self._downloaded(f"{place}/{quote(path, safe='/@=')}")
        return read_regular(Path(place.folder) / path, max_bytes=SIGNATURE_MAX_BYTES)

    def _downloaded(self, url: str) -> bytes | None:
        answer = self._http.request(
            "GET",
            url,
            headers=self._headers,
            max_bytes=SIGNATURE_MAX_BYTES,
            needs_tls=self._needs_tls,
        )
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise ImgsecError(answer.failure())
        return answer.body


def _make_folders(base: Path, folder: Path) -> None:
    """Those below the base, readable by whoever serves them, whatever the umask is."""
    for part in reversed([folder, *folder.parents[: folder.parents.index(base)]]):
        with contextlib.suppress(FileExistsError):
            part.mkdir()
            part.chmod(_FOLDER_MODE)


def _put(folder: Path, number: int, content: bytes) -> bool:
    """Whole or not at all, and never over another one; False if the number is taken."""
    target = folder / f"signature-{number}"
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, _FILE_MODE)
        try:
            os.link(name, target, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _renamed_alone(Path(name), target)
        return True
    finally:
        Path(name).unlink(missing_ok=True)


def _renamed_alone(new: Path, target: Path) -> bool:
    """For mounted object storage, which has no second names for a file: one run at a time."""
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # it may have no locks either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if target.exists():
            return False
        new.rename(target)
    finally:
        os.close(descriptor)
    return True
