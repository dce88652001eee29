# SPDX-License-Identifier: Apache-2.0
"""The Secrets that hold public keys: find them, and change what they hold as one block."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from imgsec.domain.keys import Fingerprint, KeyAlias, PublicKey
from imgsec.domain.kubernetes import MANAGED_BY, key_secret_document, secret_value
from imgsec.domain.policy import KeySecret, Namespace, ObjectName
from imgsec.domain.report import Change
from imgsec.domain.verifiers import (
    READERS,
    PublishedKeys,
    armoured_blocks,
    armoured_kinds,
    is_read_by_go,
    judge_key,
)
from imgsec.errors import ImgsecError
from imgsec.operations.signing_key import find_or_none, load_public_half
from imgsec.ports import KeyReader, Keyring, ManifestSink, PublishedReader
from imgsec.reasons import FOREIGN_OBJECT, KEY_MALFORMED, KEY_UNREADABLE, Reason


class PublishingPlace(ManifestSink, PublishedReader, Protocol):
    """A folder or a cluster: where public halves are published and found again."""


_LOOKS_MAX = 5  # each further one for a revocation in the middle of the one before


@dataclass(frozen=True, slots=True)
class PublishedSecret:
    """A Secret with public keys. content: as it is published; keys: all that can be read of it."""

    document: dict[str, Any]
    content: bytes
    keys: tuple[PublicKey, ...]

    @property
    def name(self) -> str:
        """``NAMESPACE/NAME``."""
        metadata = self.document["metadata"]
        return f"{metadata.get('namespace', '')}/{metadata['name']}".removeprefix("/")

    @property
    def where(self) -> KeySecret:
        """Raises `ImgsecError` (invalid-name) for one that no cluster would take."""
        metadata = self.document["metadata"]
        return KeySecret(
            ObjectName.parse(str(metadata["name"])),
            Namespace.parse(str(metadata.get("namespace", ""))),
        )

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        return tuple(dict.fromkeys(key.fingerprint for key in self.keys))


def find_all(published: PublishedReader, keyring: Keyring) -> tuple[PublishedSecret, ...]:
    """All Secrets that hold public keys, whoever made them."""
    documents = (*published.list_key_secrets(), *published.list_foreign_key_secrets())
    return tuple(read_secret(document, keyring) for document in documents)


def find_published(published: PublishedReader, keyring: Keyring) -> tuple[PublishedSecret, ...]:
    """The Secrets of ours that hold public keys. One that nobody can read holds none."""
    return tuple(read_secret(document, keyring) for document in published.list_key_secrets())


def read_secret(document: dict[str, Any], keyring: Keyring) -> PublishedSecret:
    """A Secret with public keys, whoever made it."""
    content = secret_value(document, "key") or b""
    return PublishedSecret(document, content, _readable(content, keyring))


def require_all_ours(
    fingerprints: Collection[Fingerprint], published: PublishedReader, keyring: Keyring
) -> None:
    """Raises `ImgsecError` (foreign-object) if one of the keys is in a Secret that is not ours.

    Whoever relies on that would not learn of another key.
    """
    for secret in find_foreign(fingerprints, published, keyring):
        raise ImgsecError(foreign_secret(secret))


def find_foreign(
    fingerprints: Collection[Fingerprint], published: PublishedReader, keyring: Keyring
) -> tuple[PublishedSecret, ...]:
    """The Secrets with one of these keys that imgsec did not make."""
    found = [read_secret(document, keyring) for document in published.list_foreign_key_secrets()]
    return tuple(one for one in found if not set(fingerprints).isdisjoint(one.fingerprints))


def foreign_secret(secret: PublishedSecret) -> Reason:
    """What is wrong with it, and how it becomes ours."""
    text = f"the Secret {secret.name} publishes the key, and was not made by imgsec"
    name, value = MANAGED_BY
    hint = f"If imgsec may change it, give it the label {name}={value}; else take the key out."
    return FOREIGN_OBJECT(text, hint=hint)


def take_back_revoked(
    fingerprints: Iterable[Fingerprint],
    place: PublishingPlace,
    kms: KeyReader,
    keyring: Keyring,
    *,
    now: datetime,
) -> tuple[Change, ...]:
    """Publish no key as a good one that a run at the same time has revoked.

    To be called after something was published. A revocation marks the key in the KMS first, and
    publishes then: so it is seen here, or it comes after what was published before this.
    """
    changes: list[Change] = []
    looked_at = set(fingerprints)
    for _ in range(_LOOKS_MAX):
        revoked = {one for one in looked_at if _is_marked(one, kms, keyring)}
        stale = [
            secret
            for secret in (find_published(place, keyring) if revoked else ())
            if any(key.fingerprint in revoked and not key.is_revoked for key in secret.keys)
        ]
        if not stale:
            break
        for secret in stale:
            keyring.import_public_keys(secret.content)
            rest = kept_without(secret.fingerprints, revoked, kms)
            changes.append(republish(secret, rest, place, keyring, now=now))
            looked_at |= set(rest)
    return tuple(changes)


def _is_marked(fingerprint: Fingerprint, kms: KeyReader, keyring: Keyring) -> bool:
    """Whether the KMS calls the key revoked; the keyring has its revocation then."""
    mark = str(KeyAlias.revoked(fingerprint))
    if (held := find_or_none(kms, mark)) is None:
        return False
    load_public_half(mark, held, kms, keyring)
    return True


def kept_without(
    fingerprints: Sequence[Fingerprint], revoked: Collection[Fingerprint], kms: KeyReader
) -> list[Fingerprint]:
    """What a Secret publishes once some of its keys are revoked.

    Where nothing else is left that is in use, they stay, as revoked ones, which every verifier
    refuses: nothing would tell else whose place it was.
    """
    rest = [one for one in fingerprints if one not in revoked]
    if all(find_or_none(kms, str(KeyAlias.retired(one))) is not None for one in rest):
        return [*rest, *(one for one in fingerprints if one in revoked)]
    return rest


def _readable(content: bytes, keyring: Keyring) -> tuple[PublicKey, ...]:
    try:
        return keyring.inspect_public_keys(content)
    except ImgsecError:
        return ()


def republish(
    secret: PublishedSecret,
    fingerprints: Sequence[Fingerprint],
    sink: ManifestSink,
    keyring: Keyring,
    *,
    now: datetime,
) -> Change:
    """Let a Secret hold these keys of the keyring, in one block.

    Raises `ImgsecError` (key-unreadable) if a verifier that reads a key today would not read it
    then, and what the sink raises.
    """
    if not fingerprints:
        raise ValueError("a Secret without any key would tell nothing")
    content = keyring.export_block(fingerprints)
    held = set(secret.fingerprints)
    require_readable(content, [one for one in fingerprints if one not in held], keyring, now=now)
    for fingerprint in held & set(fingerprints):
        lost = _unread(content, fingerprint, keyring, now)
        if lost and set(lost) - set(_unread(secret.content, fingerprint, keyring, now)):
            raise ImgsecError(lost[0])
    return sink.publish(key_secret_document(secret.where, content))


def require_readable(
    content: bytes, signers: Iterable[Fingerprint], keyring: Keyring, *, now: datetime
) -> None:
    """Raises `ImgsecError` (key-unreadable) if a verifier would not read one of these keys."""
    for signer in signers:
        if lost := _unread(content, signer, keyring, now):
            raise ImgsecError(lost[0])


def _unread(
    content: bytes, signer: Fingerprint, keyring: Keyring, now: datetime
) -> tuple[Reason, ...]:
    """Why verifiers do not read this key as it is published; nothing else that they say of it."""
    keys = read_published(content, keyring)
    reasons = [
        reason
        for verifier in READERS
        for reason in judge_key(verifier, signer, keys, now).reasons
        if reason.code == KEY_UNREADABLE.code
    ]
    return tuple(dict.fromkeys(reasons))


def read_published(content: bytes, keyring: Keyring) -> PublishedKeys:
    """The keys of a key file or of a Secret's data key, block by block.

    Raises `ImgsecError` (key-malformed).
    """
    blocks, kinds = armoured_blocks(content), armoured_kinds(content)
    if any("PRIVATE" in kind for kind in kinds):
        hint = "Whoever reads it can sign: revoke the key (imgsec keys revoke), and make another."
        raise ImgsecError(KEY_MALFORMED("it holds a secret key for all to see", hint=hint))
    if not blocks and content[:1] < b"\x80":
        text = "it is neither binary nor armoured OpenPGP, and no verifier decodes anything else"
        raise ImgsecError(KEY_MALFORMED(text))
    read = [keyring.inspect_public_keys(block) for block in blocks or (content,)]
    every = tuple(key for keys in read for key in keys)
    comes_first = bool(blocks) and kinds[0] == "PUBLIC KEY BLOCK" and is_read_by_go(blocks[0])
    return PublishedKeys(len(blocks), read[0] if comes_first else (), every)
