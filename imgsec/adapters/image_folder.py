# SPDX-License-Identifier: Apache-2.0
"""An image in a folder, as ``skopeo copy [--all] docker://NAME dir:FOLDER`` leaves it there.

Layout (containers/image, `directory/directory_transport.go`): ``manifest.json``
and ``signature-N``; of each manifest that an index lists, ``HEX.manifest.json`` and
``HEX.signature-N``; each blob under its HEX. N counts from 1, and the first gap ends the list.
"""

from __future__ import annotations

from pathlib import Path

from imgsec.adapters.files import read_regular
from imgsec.domain.manifest import media_type_of
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.domain.signature import SIGNATURE_MAX_BYTES, SIGNATURES_MAX, stored_signature
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.ports import Manifest
from imgsec.reasons import (
    ANSWER_MALFORMED,
    DIGEST_MISMATCH,
    IMAGE_NOT_FOUND,
    TOO_MANY_SIGNATURES,
)

_MANIFEST_MAX_BYTES = 4 * 2**20
_CONFIG_MAX_BYTES = 4 * 2**20


class ImageFolder:
    """Answers for one image only, whatever its name; a digest in the name is held against it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        """See `imgsec.ports.ManifestReader`. Raises (digest-mismatch)."""
        path = self._folder / "manifest.json"
        content = self._manifest(path)
        if image.digest not in (None, Digest.of(content)):
            child = self._folder / f"{image.digest.hex}.manifest.json"
            found = read_regular(child, max_bytes=_MANIFEST_MAX_BYTES)
            if found is not None:
                path, content = child, found
        digest = Digest.of(content)
        if digest != (image.digest or digest):
            text = f"{shown(str(path))} is the manifest {digest}, and not that of {image}"
            raise ImgsecError(DIGEST_MISMATCH(text))
        return Manifest(content, _media_type(content, path), digest)

    def _manifest(self, path: Path) -> bytes:
        content = read_regular(path, max_bytes=_MANIFEST_MAX_BYTES)
        if content is None:
            hint = "Make the folder with: skopeo copy --all docker://NAME dir:FOLDER"
            raise ImageNotFound(IMAGE_NOT_FOUND(f"{shown(str(path))} is not there", hint=hint))
        return content

    def fetch_config(self, _: ImageReference, digest: Digest) -> bytes:
        """See `imgsec.ports.ConfigReader`."""
        path = self._folder / digest.hex
        content = read_regular(path, max_bytes=_CONFIG_MAX_BYTES)
        if content is None:
            raise ImageNotFound(IMAGE_NOT_FOUND(f"{shown(str(path))} is not there"))
        if Digest.of(content) != digest:
            text = f"{shown(str(self._folder))} holds other bytes for {digest}"
            raise ImgsecError(DIGEST_MISMATCH(text))
        return content

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        """See `imgsec.ports.SignatureReader`: the folder is one."""

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """See `imgsec.ports.SignatureReader`."""
        if image.digest is None:
            raise ValueError(f"{image} has no digest")
        top = Digest.of(self._manifest(self._folder / "manifest.json"))
        prefix = "" if image.digest == top else f"{image.digest.hex}."
        found: list[bytes | None] = []
        for number in range(1, SIGNATURES_MAX + 2):
            path = self._folder / f"{prefix}signature-{number}"
            content = read_regular(path, max_bytes=SIGNATURE_MAX_BYTES)
            if content is None:
                return tuple(one for one in found if one is not None)
            found.append(stored_signature(content, shown(str(path)), str(path)))
        text = f"{shown(str(self._folder))} holds more than {SIGNATURES_MAX} signatures"
        raise ImgsecError(TOO_MANY_SIGNATURES(text))


def _media_type(content: bytes, path: Path) -> str:
    """The manifest's own; OCI 1.0 allows none, and then its members tell."""
    try:
        return media_type_of(content)
    except ValueError:
        text = f"{shown(str(path))} is no manifest, or one of contradictory or unknown type"
        raise ImgsecError(ANSWER_MALFORMED(text)) from None
