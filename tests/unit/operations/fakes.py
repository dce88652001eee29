# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins for the ports, with only as much memory as a story needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from imgsec.domain.keys import Fingerprint, KeyRequest, PublicKey, SecretBytes
from imgsec.domain.kubernetes import is_ours
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import Change
from imgsec.domain.signature import OpenPGPMessage
from imgsec.domain.vulnerability import ScanReport
from imgsec.errors import ImageNotFound, ImgsecError, KeyExists, KeyNotFound
from imgsec.ports import Manifest, StoredKey
from imgsec.reasons import (
    FOREIGN_OBJECT,
    IMAGE_NOT_FOUND,
    KEY_CONFLICT,
    KEY_MALFORMED,
    KEY_NOT_FOUND,
    NOT_ASSESSED,
    OUTPUT_UNWRITABLE,
    SIGNATURE_INVALID,
    SIGNATURE_STORE_MISSING,
    SIGNATURE_UNTRUSTED,
    Reason,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SIGNER = Fingerprint("AB" * 20)
OTHER_SIGNER = Fingerprint("CD" * 20)
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def public_key(fingerprint: Fingerprint = SIGNER, **changes: Any) -> PublicKey:
    fields = {
        "fingerprint": fingerprint,
        "algorithm": "rsa4096",
        "created": NOW - timedelta(days=1),
        "expires": NOW + timedelta(days=365),
        "can_sign": True,
        "is_revoked": False,
        **changes,
    }
    return PublicKey(**fields)


def payload(name: str, digest: Digest | str) -> bytes:
    return json.dumps(
        {
            "critical": {
                "type": "atomic container signature",
                "image": {"docker-manifest-digest": str(digest)},
                "identity": {"docker-reference": name},
            },
            "optional": {},
        }
    ).encode()


def message(name: str, digest: Digest | str, signer: Fingerprint = SIGNER) -> bytes:
    """A signature as `FakeKeyring` opens it: who, a colon, what."""
    return f"{signer}:".encode() + payload(name, digest)


@dataclass
class FakeRegistry:
    """Manifests by what names them, and the signatures of each digest."""

    offers_signatures: bool = True
    names: dict[str, bytes] = field(default_factory=dict)
    signatures: dict[str, list[bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    on_fetch: Callable[[ImageReference], None] = lambda _: None

    def push(self, text: str, content: bytes | None = None) -> ImageReference:
        """Let a tag name this content; gives the canonical reference."""
        image = ImageReference.parse(text)
        document = {"mediaType": OCI, "config": {"mediaType": "application/x"}, "n": text}
        content = json.dumps(document).encode() if content is None else content
        self.names[image.tagged_name] = content
        found = image.at(Digest.of(content))
        self.names[found.canonical_name] = content
        return found

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        self.on_fetch(image)
        name = image.canonical_name if image.digest else image.tagged_name
        if name not in self.names:
            raise ImageNotFound(IMAGE_NOT_FOUND(f"{image} is not there"))
        content = self.names[name]
        kind = INDEX if b'"manifests"' in content else OCI
        return Manifest(content, kind, Digest.of(content))

    def fetch_config(self, _: ImageReference, digest: Digest) -> bytes:
        return self.blobs[str(digest)]

    def require_signature_store(self, image: ImageReference) -> None:
        if not self.offers_signatures:
            raise ImgsecError(SIGNATURE_STORE_MISSING(f"{image.registry} has none"))

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        self.require_signature_store(image)
        return tuple(self.signatures.get(image.canonical_name, []))


@dataclass
class FakeSigner:
    """Stores a signature for the image and for all that it lists, as skopeo does."""

    registry: FakeRegistry
    signed: list[str] = field(default_factory=list)
    forgets: bool = False
    on_sign: Callable[[], None] = lambda: None

    def sign_image(self, image: ImageReference, signer: Fingerprint) -> None:
        assert image.digest is not None
        self.signed.append(str(image))
        self.on_sign()
        if self.forgets:
            return
        content = self.registry.names[image.canonical_name]
        children = json.loads(content).get("manifests", [])
        digests = [image.digest, *(Digest.parse(child["digest"]) for child in children)]
        for digest in digests:
            held = self.registry.signatures.setdefault(f"{image.name}@{digest}", [])
            held.append(message(image.tagged_name, digest, signer))


@dataclass
class FakeKeyring:
    """Keys whose export is ``secret FINGERPRINT`` or ``public FINGERPRINT``."""

    next_key: Fingerprint = SIGNER
    made: list[KeyRequest] = field(default_factory=list)
    flawed: dict[str, Any] = field(default_factory=dict)

    def generate_key(self, request: KeyRequest) -> PublicKey:
        self.made.append(request)
        return public_key(self.next_key, **self.flawed)

    def import_secret_key(self, content: SecretBytes) -> PublicKey:
        return self._read(content.reveal(), b"\x95secret ")

    def import_public_key(self, content: bytes) -> PublicKey:
        return self._read(content, b"\x99public ")

    def inspect_public_key(self, content: bytes) -> PublicKey:
        return self._read(content, b"\x99public ")

    def export_secret_key(self, fingerprint: Fingerprint) -> SecretBytes:
        return SecretBytes(b"\x95secret " + str(fingerprint).encode())

    def export_public_key(self, fingerprint: Fingerprint, *, armour: bool) -> bytes:
        return (b"armour " if armour else b"\x99public ") + str(fingerprint).encode()

    def make_revocation(self, fingerprint: Fingerprint) -> bytes:
        return b"revokes " + str(fingerprint).encode()

    def open_message(self, message: bytes, signer: Fingerprint) -> OpenPGPMessage | Reason:
        who, colon, content = message.partition(b":")
        if not colon or len(who) != 40:
            return SIGNATURE_INVALID("junk")
        if who != str(signer).encode():
            return SIGNATURE_UNTRUSTED("another key")
        return OpenPGPMessage(content, signer, NOW)

    def _read(self, content: bytes, kind: bytes) -> PublicKey:
        if not content.startswith(kind):
            raise ImgsecError(KEY_MALFORMED("it is no such key"))
        fingerprint = Fingerprint.parse(content.removeprefix(kind).decode())
        return public_key(fingerprint, **self.flawed)


@dataclass
class FakeKms:
    """Keys by alias, and keys without one by id, as (name, content).

    before: called with each operation and alias, as another client may act.
    """

    keys: dict[str, bytes] = field(default_factory=dict)
    before: Callable[[str, str], None] = lambda *_: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    garbles: bool = False
    further_aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    nameless: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    originals: dict[str, tuple[str, str]] = field(default_factory=dict)

    address = ("https://kms.example", "instance")

    def find_key(self, name: str) -> StoredKey:
        self._note("find", name)
        return self._stored(name)

    def fetch_key(self, name: str) -> tuple[StoredKey, SecretBytes]:
        self._note("fetch", name)
        stored = self._stored(name)
        content = self.nameless[name][1] if name in self.nameless else self.keys[name]
        return stored, SecretBytes(b"garbled" if self.garbles else content)

    def store_key(
        self, alias: str, content: SecretBytes, *, name: str, description: str
    ) -> StoredKey:
        self._note("store", alias)
        if alias in self.keys:
            raise KeyExists(KEY_CONFLICT("taken"))
        self.keys[alias] = content.reveal()
        self.described[alias] = description
        assert len(name) <= 90
        assert len(description) <= 240
        return self._stored(alias)

    def list_keys(self) -> Iterator[StoredKey]:
        self._note("list", "")
        yield from [self._stored(name) for name in [*self.nameless, *self.keys]]

    def add_alias(self, key_id: str, alias: str) -> None:
        self._note("alias", alias)
        if alias in self.keys:
            if self._stored(alias).id == key_id:
                return
            raise KeyExists(KEY_CONFLICT("taken"))
        self.keys[alias] = self.nameless[key_id][1]
        self.originals[alias] = (key_id, self.nameless.pop(key_id)[0])

    def remove_alias(self, key_id: str, alias: str) -> None:
        self._note("unalias", alias)
        stored = self._stored(alias)
        assert stored.id == key_id
        self.nameless[key_id] = (stored.name, self.keys.pop(alias))

    def _note(self, operation: str, name: str) -> None:
        self.before(operation, name)
        self.asked.append((operation, name))

    def _stored(self, name: str) -> StoredKey:
        if name in self.nameless:
            title, said = self.nameless[name][0], self.described.get(name, "")
            return StoredKey(name, (), title, said, NOW)
        if name not in self.keys:
            raise KeyNotFound(KEY_NOT_FOUND(f"no {name}"))
        half = "public" if name.endswith("-public") else "secret"
        said = self.described.get(name, f"imgsec {half} half")
        aliases = self.further_aliases.get(name, ())
        key_id, title = self.originals.get(name, (f"id-{name}", "n"))
        return StoredKey(key_id, (*aliases, name), title, said, NOW)


@dataclass
class FakeSink:
    """Remembers what was published."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_ready: bool = True
    on_publish: Callable[[], None] = lambda: None

    def require_ready(self) -> None:
        if not self.is_ready:
            raise ImgsecError(OUTPUT_UNWRITABLE("it takes nothing"))

    def fetch(self, kind: str, name: str, _: str | None) -> dict[str, Any] | None:
        return self.documents.get(f"{kind}/{name}")

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        name = f"{document['kind']}/{document['metadata']['name']}"
        before = self.documents.get(name)
        if before is not None and not is_ours(before) and not adopt:
            raise ImgsecError(FOREIGN_OBJECT(name))
        self.on_publish()
        self.documents[name] = document
        state = "unchanged" if before == document else "updated" if before else "created"
        return Change(name, state)


@dataclass
class FakeClock:
    """Time passes only by sleeping."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.at += max(seconds, 0.001)

    def backoff(self) -> Iterator[float]:
        while True:
            yield 10.0


@dataclass
class FakeScanner:
    """Gives one report, or one trouble, after the other; the last one stays."""

    answers: list[ScanReport | ImgsecError]
    asked: list[str] = field(default_factory=list)
    serves: bool = True

    def require_served(self, image: ImageReference) -> None:
        if not self.serves:
            raise ImgsecError(NOT_ASSESSED(f"{image.registry} is foreign"))

    def fetch_report(self, image: ImageReference) -> ScanReport:
        self.asked.append(image.canonical_name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ImgsecError):
            raise answer
        return answer
