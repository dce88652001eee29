# SPDX-License-Identifier: Apache-2.0
"""Images as a cluster would read them: each manifest and each digest's signatures asked for once.

A thousand containers of fifty images cost fifty look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from imgsec.domain.engine_name import EngineName
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import ImageReference
from imgsec.errors import ImgsecError
from imgsec.ports import ImageEvidence, ImageReader, Manifest, StoreAddress
from imgsec.reasons import Reason

_Value = TypeVar("_Value")
# What is the same for whoever asks: the image is not there, or not for this credential.
UNAUTHORISED = ("missing-credential", "credential-rejected", "permission-denied")
DEFINITE = ("image-not-found", *UNAUTHORISED)


@dataclass(frozen=True, slots=True)
class Deployed:
    """An image as a container names it. credentials: of the pod's pull secrets, in their order.

    closed: why further ones may not be read from here; None where these are all.
    """

    name: EngineName
    namespace: str
    credentials: tuple[PullCredential, ...] = ()
    closed: Reason | None = None

    @property
    def image(self) -> ImageReference:
        """As registries are asked. Raises `ImgsecError` (invalid-reference, invalid-digest)."""
        if self.name.digest:
            return ImageReference.parse(f"{self.name.repository}@sha256:{self.name.digest}")
        return ImageReference.parse(self.name.tagged)


class RememberedImages:
    """Images by reader and name, and whatever came of asking, an error as well."""

    def __init__(self, evidence: ImageEvidence) -> None:
        self._evidence = evidence
        self._readers: dict[Hashable, ImageReader] = {}
        self._manifests: dict[Hashable, Manifest | ImgsecError] = {}
        self._signatures: dict[Hashable, tuple[bytes, ...] | ImgsecError] = {}

    def manifest(
        self, image: ImageReference, credential: PullCredential | None, store: StoreAddress | None
    ) -> Manifest:
        """Raises `ImgsecError` as the reader does."""
        key = (str(image), _told_apart(credential))
        reader = self._reader(credential, store)
        return _remembered(self._manifests, key, lambda: reader.fetch_manifest(image))

    def signatures(
        self, image: ImageReference, credential: PullCredential | None, store: StoreAddress | None
    ) -> tuple[bytes, ...]:
        """Of a canonical image; shared by its digest. Raises `ImgsecError` as the reader does."""
        key = (image.canonical_name, _told_apart(credential), *_place(store))
        reader = self._reader(credential, store)
        return _remembered(self._signatures, key, lambda: reader.fetch_signatures(image))

    def _reader(self, credential: PullCredential | None, store: StoreAddress | None) -> ImageReader:
        key = (_told_apart(credential), *_place(store))
        if key not in self._readers:
            self._readers[key] = self._evidence.reader(credential, store)
        return self._readers[key]


def _told_apart(credential: PullCredential | None) -> Hashable:
    """Copies of one credential, in Secrets of many namespaces, are the same."""
    return credential.pair.reveal() if credential is not None else None


def _place(store: StoreAddress | None) -> tuple[str, bytes]:
    """A store, and who asks it: another user may be refused what this one is given."""
    if store is None:
        return "", b""
    return store.url, store.pair.reveal() if store.pair is not None else b""


def _remembered(
    known: dict[Hashable, _Value | ImgsecError], key: Hashable, ask: Callable[[], _Value]
) -> _Value:
    if key not in known:
        try:
            known[key] = ask()
        except ImgsecError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, ImgsecError):
        raise found
    return found
