# SPDX-License-Identifier: Apache-2.0
"""Where an engine reads images and signatures: registries, or a folder in place of all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from imgsec.adapters.image_folder import ImageFolder
from imgsec.adapters.lookaside import Lookaside
from imgsec.adapters.registry import RegistryClient
from imgsec.adapters.registry_auth import Credential
from imgsec.adapters.trust_file import TrustFile
from imgsec.domain.content_trust import Stop, TrustAnswer, TrustStop
from imgsec.domain.engine_name import EngineName
from imgsec.domain.engine_texts import no_trusted_tag
from imgsec.domain.hosts import ServiceUrl, SignatureAddress, shown_address
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import ImageReference, shown
from imgsec.errors import ImgsecError
from imgsec.ports import ImageReader, Manifest, StoreAddress
from imgsec.reasons import ADMISSION_OPEN, INPUT_UNREADABLE, INSECURE_ADDRESS

MakeRegistry = Callable[["PodCredential | None"], RegistryClient]
MakeStore = Callable[[SignatureAddress, "str | None"], Lookaside]


class PodCredential:
    """A pull secret's credential, for whatever is asked of the host that it is for."""

    def __init__(self, credential: PullCredential) -> None:
        import base64

        from imgsec.domain.keys import SecretBytes

        self._host = credential.host
        self._credential = Credential(SecretBytes(base64.b64encode(credential.pair.reveal())))

    def credential_for(self, image: ImageReference) -> Credential | None:
        """As an auth file has it; the engine looks at the host without its port."""
        return self._credential if image.registry.partition(":")[0] == self._host else None


class RegistryEvidence:
    """Registries, and the signature stores that rules name; see `imgsec.ports.ImageEvidence`."""

    def __init__(self, make_registry: MakeRegistry, make_store: MakeStore) -> None:
        self._make_registry = make_registry
        self._make_store = make_store

    def reader(self, credential: PullCredential | None, store: StoreAddress | None) -> ImageReader:
        """See `imgsec.ports.ImageEvidence`."""
        pod = PodCredential(credential) if credential is not None else None
        return _RegistryReader(self._make_registry(pod), store, self._make_store)


class _RegistryReader:
    """A registry, and the store beside it, which nobody looks at before it is asked."""

    def __init__(
        self, registry: RegistryClient, store: StoreAddress | None, make_store: MakeStore
    ) -> None:
        self._registry = registry
        self._store = store
        self._make_store = make_store
        self._opened: Lookaside | None = None

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        """See `imgsec.ports.ManifestReader`."""
        return self._registry.fetch_manifest(image)

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """See `imgsec.ports.SignatureReader`. As with the engine, a registry with the extension is
        asked alone. Raises (admission-open) for a store that is not asked from here.
        """
        if self._store is None or self._registry.has_extension(image):
            return self._registry.fetch_signatures(image)
        if self._opened is None:
            self._opened = self._open(self._store)
        return self._opened.fetch_signatures(image)

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        """See `imgsec.ports.SignatureReader`."""
        if self._store is None:
            self._registry.require_signature_store(image, writable=writable)

    def _open(self, store: StoreAddress) -> Lookaside:
        address, header = _store_address(store), None
        if store.pair is not None:
            import base64

            header = "Basic " + base64.b64encode(store.pair.reveal()).decode("ascii")
        return self._make_store(address, header)


def _store_address(store: StoreAddress) -> SignatureAddress:
    """Where a rule's store is. Raises `ImgsecError` (admission-open): what is not asked from here.

    An engine takes an address without TLS; a password is not sent there. What it makes of further
    parts of an address is not known.
    """
    try:
        found = ServiceUrl.parse(store.url, strip="", needs_tls=store.pair is not None)
    except ImgsecError as error:
        url, folder = shown_address(store.url), "or give the signatures with --signatures DIR."
        if error.reason.code == INSECURE_ADDRESS.code:
            text = f"the store {url} is not asked: the password of its storeSecret would go there"
            why = ADMISSION_OPEN(f"{text} without TLS", hint=f"Let storeURL be https, {folder}")
        elif re.match(r"https?://[^?#]*@", store.url):
            text = f"the store {url} is not asked: a user or a password stands in its address"
            hint = f"Put both into the Secret that storeSecret names, {folder}"
            why = ADMISSION_OPEN(text, hint=hint)
        elif re.search(r"[?#]", store.url):
            text = f"the store {url} is not asked: what an engine makes of its query is not known"
            why = ADMISSION_OPEN(text, hint=f"Write storeURL without ? and #, {folder}")
        else:
            text = f"the store {url} is not asked: that is no address that can be asked from here"
            why = ADMISSION_OPEN(text, hint=f"Write storeURL as https://host[:port]/path, {folder}")
        raise ImgsecError(why) from None
    return SignatureAddress(str(found))


class FolderTrust:
    """Trust data below a folder: ``trust.json``, as `docker trust inspect IMAGE...` prints it.

    See `imgsec.ports.TrustReader`. What it does not name is not signed, as with signatures.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "trust.json"
        self._file = TrustFile.read(str(path)) if path.is_file() else None

    def fetch_trusted(
        self, server: str, image: EngineName, credentials: Sequence[PullCredential]
    ) -> TrustAnswer:
        """See `imgsec.ports.TrustReader`."""
        if self._file is None or not self._file.knows(image):
            stop = TrustStop(Stop.READING, no_trusted_tag(image.tag))
            return TrustAnswer(image.tag, stop=stop)
        return self._file.fetch_trusted(server, image, credentials)


class FolderEvidence:
    """Images and signatures below a folder, whoever asks; no registry is.

    An image is as ``skopeo sync --scoped --src docker --dest dir`` leaves it, ``HOST/PATH:TAG/``;
    signatures also as a lookaside store has them, ``PATH@sha256=HEX/signature-N``.
    """

    def __init__(self, folder: Path, store: Lookaside) -> None:
        if not os.path.isdir(folder):
            raise ImgsecError(INPUT_UNREADABLE(f"{shown(str(folder))} is not a folder"))
        self._folder = folder
        self._store = store
        self._listed: dict[Path, list[Path]] = {}

    def reader(self, _: PullCredential | None, __: StoreAddress | None) -> ImageReader:
        """See `imgsec.ports.ImageEvidence`."""
        return self

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        """See `imgsec.ports.ManifestReader`. A digest in the name is believed to be there."""
        for folder in self._copies(image):
            return ImageFolder(folder).fetch_manifest(image)
        if image.digest is not None:
            return Manifest(b"", "", image.digest)
        hint = "Copy it there: skopeo sync --scoped --src docker --dest dir IMAGE FOLDER"
        text = f"the folder does not tell which digest {image} names"
        raise ImgsecError(ADMISSION_OPEN(text, hint=hint))

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """See `imgsec.ports.SignatureReader`: of a copy, else of the store."""
        for folder in self._copies(image):
            if found := ImageFolder(folder).fetch_signatures(image):
                return found
        return self._store.fetch_signatures(image)

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        """See `imgsec.ports.SignatureReader`: the folder is one."""

    def _copies(self, image: ImageReference) -> list[Path]:
        """The folders that an image was copied to, under its name; by digest under any tag, too."""
        names = [f"{image.name}:{image.tag}"] if image.tag is not None else []
        if image.digest is not None:
            names.append(f"{image.name}@{image.digest}")
        found = [self._folder / name for name in names]
        if image.digest is not None:
            found += [path for path in self._tagged(image) if _holds(path, image)]
        return [path for path in dict.fromkeys(found) if os.path.isfile(path / "manifest.json")]

    def _tagged(self, image: ImageReference) -> list[Path]:
        """The copies of a repository, whatever their tags."""
        place = self._folder / image.name
        if place.parent not in self._listed:
            try:
                self._listed[place.parent] = sorted(place.parent.iterdir())
            except OSError:
                self._listed[place.parent] = []
        beside = self._listed[place.parent]
        return [one for one in beside if one.name.startswith(f"{place.name}:")]


def _holds(folder: Path, image: ImageReference) -> bool:
    try:
        ImageFolder(folder).fetch_manifest(image)
    except ImgsecError:
        return False
    return True
