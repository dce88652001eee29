# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins for the ports, with only as much memory as a story needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from imgsec.domain.keys import Fingerprint, KeyRequest, PublicKey, SecretBytes
from imgsec.domain.kubernetes import holds_public_key, is_ours
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import Change
from imgsec.domain.signature import OpenPGPMessage
from imgsec.domain.vulnerability import ScanReport, ScanSubject
from imgsec.errors import ImageNotFound, ImgsecError, KeyExists, KeyNotFound
from imgsec.ports import Manifest, ObjectId, StoredKey
from imgsec.reasons import (
    FOREIGN_OBJECT,
    IMAGE_NOT_FOUND,
    KEY_CONFLICT,
    KEY_MALFORMED,
    KEY_NOT_FOUND,
    NOT_ASSESSED,
    OUTPUT_UNWRITABLE,
    REQUEST_REFUSED,
    SIGNATURE_INVALID,
    SIGNATURE_STORE_MISSING,
    SIGNATURE_UNTRUSTED,
    Reason,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SIGNER = Fingerprint("AB" * 20)
OTHER_SIGNER = Fingerprint("CD" * 20)
THIRD_SIGNER = Fingerprint("EF" * 20)
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
    takes_signatures: bool = True
    names: dict[str, bytes] = field(default_factory=dict)
    signatures: dict[str, list[bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    on_fetch: Callable[[ImageReference], None] = lambda _: None
    stored: list[str] = field(default_factory=list)
    on_store: Callable[[], None] = lambda: None
    forgets: bool = False

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

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        if not self.offers_signatures or (writable and not self.takes_signatures):
            raise ImgsecError(SIGNATURE_STORE_MISSING(f"{image.registry} has none"))

    def store_signature(self, image: ImageReference, signature: bytes) -> None:
        self.stored.append(str(image))
        self.on_store()
        if not self.forgets:
            self.signatures.setdefault(image.canonical_name, []).append(signature)

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        self.require_signature_store(image)
        return tuple(self.signatures.get(image.canonical_name, []))


_SECRET, _PUBLIC = b"\x95secret ", b"\x99public "
_BEGIN = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
_END = b"\n-----END PGP PUBLIC KEY BLOCK-----\n"


@dataclass
class FakeKeyring:
    """Keys whose export is ``secret KEY`` or ``public KEY,KEY``, armoured between gpg's own lines.

    KEY is the fingerprint; and the end date, an r for a revoked key and the day on which it was
    made, if these are not the usual ones.
    """

    next_key: Fingerprint = SIGNER
    made: list[KeyRequest] = field(default_factory=list)
    flawed: dict[str, Any] = field(default_factory=dict)
    held: dict[Fingerprint, PublicKey] = field(default_factory=dict)
    now: datetime | None = None  # for keys that are made; None for the usual dates

    def generate_key(self, request: KeyRequest) -> PublicKey:
        self.made.append(request)
        dates = {}
        if self.now is not None:
            dates = {"created": self.now, "expires": self.now + timedelta(request.valid_days)}
        return self._hold(public_key(self.next_key, **{**dates, **self.flawed}))

    def import_secret_key(self, content: SecretBytes) -> PublicKey:
        (key,) = self._read(content.reveal(), _SECRET)
        return self._hold(key)

    def import_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        return tuple(map(self._hold, self._read(content, _PUBLIC)))

    def inspect_public_key(self, content: bytes) -> PublicKey:
        (key,) = self._read(content, _PUBLIC)
        return key

    def inspect_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        return self._read(content, _PUBLIC)

    def export_secret_key(self, fingerprint: Fingerprint) -> SecretBytes:
        return SecretBytes(_SECRET + self._text(fingerprint))

    def export_public_key(self, fingerprint: Fingerprint) -> bytes:
        return _PUBLIC + self._text(fingerprint)

    def export_block(self, fingerprints: Sequence[Fingerprint]) -> bytes:
        held = [key for key in self.held if key in fingerprints]
        return _BEGIN + _PUBLIC + b",\n".join(map(self._text, held or fingerprints)) + _END

    def extend_key(self, fingerprint: Fingerprint, until: datetime) -> PublicKey:
        self.held[fingerprint] = replace(self.held[fingerprint], expires=until)
        return self.held[fingerprint]

    def make_revocation(self, fingerprint: Fingerprint) -> bytes:
        return b"revokes " + str(fingerprint).encode()

    def revoke_key(self, fingerprint: Fingerprint, certificate: bytes) -> PublicKey:
        if certificate != self.make_revocation(fingerprint):
            raise ImgsecError(KEY_MALFORMED("it revokes another key"))
        self.held[fingerprint] = replace(self.held[fingerprint], is_revoked=True)
        return self.held[fingerprint]

    def sign_message(self, content: bytes, signer: Fingerprint) -> bytes:
        return f"{signer}:".encode() + content

    def open_message(
        self, message: bytes, signers: Sequence[Fingerprint]
    ) -> OpenPGPMessage | Reason:
        who, colon, content = message.partition(b":")
        if not colon or len(who) != 40:
            return SIGNATURE_INVALID("junk")
        signer = Fingerprint(who.decode())
        if signer not in signers:
            return SIGNATURE_UNTRUSTED("another key")
        is_revoked = signer in self.held and self.held[signer].is_revoked
        return OpenPGPMessage(content, signer, NOW, signer, key_is_revoked=is_revoked)

    def _hold(self, key: PublicKey) -> PublicKey:
        """As gpg does, the later end date and a revocation stay."""
        if (before := self.held.get(key.fingerprint)) is not None:
            ends = [one.expires for one in (before, key) if one.expires is not None]
            is_revoked = before.is_revoked or key.is_revoked
            key = replace(key, expires=max(ends, default=None), is_revoked=is_revoked)
        self.held[key.fingerprint] = key
        return key

    def _text(self, fingerprint: Fingerprint) -> bytes:
        key = self.held.get(fingerprint) or public_key(fingerprint)
        told = (key.created, key.expires, key.is_revoked)
        usual = told == (public_key().created, public_key().expires, False)
        end = f"{key.expires:%Y-%m-%d}" if key.expires else ""
        more = "" if usual else f"|{end}|{'r' if key.is_revoked else ''}|{key.created:%Y-%m-%d}"
        return f"{fingerprint}{more}".encode()

    def _read(self, content: bytes, kind: bytes) -> tuple[PublicKey, ...]:
        content = content.removeprefix(_BEGIN).removesuffix(b"\n").removesuffix(_END.rstrip())
        if not content.startswith(kind):
            raise ImgsecError(KEY_MALFORMED("it is no such key"))
        texts = content.removeprefix(kind).decode().replace("\n", "").split(",")
        return tuple(map(self._key, texts))

    def _key(self, text: str) -> PublicKey:
        fingerprint, *more = text.split("|")
        changes = dict(self.flawed)
        if more:
            ends = datetime.fromisoformat(more[0]).replace(tzinfo=UTC) if more[0] else None
            changes |= {"expires": ends, "is_revoked": more[1] == "r"}
            changes["created"] = datetime.fromisoformat(more[2]).replace(tzinfo=UTC)
        return public_key(Fingerprint.parse(fingerprint), **changes)


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
class FakeVault:
    """Key objects with several names each, and a name that is taken away stays taken for a while.

    step: called before and after each change, as a moment at which others look. wait_seconds: how
    long a name that was taken away is nobody's, by the clock.
    """

    clock: FakeClock
    wait_seconds: float = 300.0
    step: Callable[[], None] = lambda: None
    keys: dict[str, tuple[StoredKey, SecretBytes]] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)

    address = ("https://kms.example", "instance")

    def find_key(self, name: str) -> StoredKey:
        return self._held(name)[0]

    def fetch_key(self, name: str) -> tuple[StoredKey, SecretBytes]:
        return self._held(name)

    def list_keys(self) -> Iterator[StoredKey]:
        yield from [stored for stored, _ in self.keys.values()]

    def store_key(
        self, alias: str, content: SecretBytes, *, name: str, description: str
    ) -> StoredKey:
        self._require_free(alias)
        self.step()
        made = self.clock.now()
        stored = StoredKey(f"id-{len(self.keys)}", (alias,), name, description, made)
        self.keys[stored.id] = stored, content
        self.step()
        return stored

    def add_alias(self, key_id: str, alias: str) -> None:
        stored, content = self.keys[key_id]
        if alias in stored.aliases:
            return
        self._require_free(alias)
        if len(stored.aliases) == 5:
            raise ImgsecError(REQUEST_REFUSED("five aliases already"))
        self.step()
        stored, content = self.keys[key_id]  # as another run may have left it
        self._require_free(alias)
        self.keys[key_id] = replace(stored, aliases=(*stored.aliases, alias)), content
        self.step()

    def remove_alias(self, key_id: str, alias: str) -> None:
        stored, content = self.keys[key_id]
        if alias not in stored.aliases:
            return
        self.step()
        stored, content = self.keys[key_id]
        left = tuple(name for name in stored.aliases if name != alias)
        self.keys[key_id] = replace(stored, aliases=left), content
        self.leaving[alias] = self.clock.at + self.wait_seconds
        self.step()

    @property
    def names(self) -> dict[str, str]:
        """All aliases, and the keys that have them."""
        return {name: stored.id for stored, _ in self.keys.values() for name in stored.aliases}

    def _require_free(self, alias: str) -> None:
        if alias in self.names or self.leaving.get(alias, 0) > self.clock.at:
            raise KeyExists(KEY_CONFLICT(f"{alias} is taken"))

    def _held(self, name: str) -> tuple[StoredKey, SecretBytes]:
        key_id = self.names.get(name, name)
        if key_id not in self.keys:
            raise KeyNotFound(KEY_NOT_FOUND(f"no {name}"))
        return self.keys[key_id]


@dataclass
class FakeSink:
    """Remembers what was published."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_ready: bool = True
    on_publish: Callable[[], None] = lambda: None
    after_publish: Callable[[], None] = lambda: None

    def require_ready(self, *names: ObjectId, adopt: bool = False) -> None:
        if not self.is_ready:
            raise ImgsecError(OUTPUT_UNWRITABLE("it takes nothing"))
        held = [self.documents.get(f"{one.kind}/{one.name}") for one in names]
        if not adopt and not all(is_ours(one) for one in held if one is not None):
            raise ImgsecError(FOREIGN_OBJECT("it is somebody else's"))

    def fetch(self, kind: str, name: str, _: str | None) -> dict[str, Any] | None:
        return self.documents.get(f"{kind}/{name}")

    def list_key_secrets(self) -> tuple[dict[str, Any], ...]:
        held = self.documents.values()
        return tuple(one for one in held if is_ours(one) and holds_public_key(one))

    def list_foreign_key_secrets(self) -> tuple[dict[str, Any], ...]:
        held = self.documents.values()
        return tuple(one for one in held if not is_ours(one) and holds_public_key(one))

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        return tuple(one for one in self.documents.values() if one["kind"] == kind)

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        name = f"{document['kind']}/{document['metadata']['name']}"
        before = self.documents.get(name)
        if before is not None and not is_ours(before) and not adopt:
            raise ImgsecError(FOREIGN_OBJECT(name))
        self.on_publish()
        self.documents[name] = document
        self.after_publish()
        state = "unchanged" if before == document else "updated" if before else "created"
        return Change(name, state)


@dataclass
class FakeScanner:
    """Gives one report, or one trouble, after the other; the last one stays."""

    answers: list[ScanReport | ImgsecError]
    asked: list[str] = field(default_factory=list)
    serves: bool = True

    def require_served(self, image: ImageReference) -> None:
        if not self.serves:
            raise ImgsecError(NOT_ASSESSED(f"{image.registry} is foreign"))

    may_change: bool = True

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport | Reason, ...]:
        return (self.answer(subject),)

    def answer(self, subject: ScanSubject) -> ScanReport:
        self.asked.append(subject.image.canonical_name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ImgsecError):
            raise answer
        return answer
