# SPDX-License-Identifier: Apache-2.0
"""Find a key where it is kept, and hold it against what was expected before anything uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from imgsec.domain.keys import (
    PUBLIC_ALIAS_SUFFIX,
    Fingerprint,
    KeyLocation,
    PublicKey,
    SecretBytes,
    is_key_name,
    unwrapped,
)
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.ports import KeyReader, Keyring, SecretSource, StoredKey
from imgsec.reasons import INVALID_OPTION, KEY_FINGERPRINT_MISMATCH, KEY_MALFORMED, KEY_NOT_FOUND

_MALFORMED_HINTS = {
    "file": "Put one exported OpenPGP key into the file, binary or armoured.",
    "env": "Set the variable to one exported secret key, armoured or as base64.",
    "https": "Publish one exported public key there, binary or armoured.",
    "secret": "Put one armoured public key into the Secret, under the data key named key.",
}
DESCRIPTION_PREFIX = "imgsec "
_DESCRIPTION = "imgsec {part}, OpenPGP fingerprint {fingerprint}"
_PUBLIC_HALF = "imgsec public half"


@dataclass(frozen=True, slots=True)
class KeyShelf:
    """The places where keys are found. kms: None where no KMS was named."""

    files: SecretSource
    kms: KeyReader | None = None

    def require_kms(self, location: KeyLocation) -> KeyReader:
        """Raises `ImgsecError` (key-not-found) where no KMS was named."""
        if self.kms is None:
            raise ImgsecError(
                KEY_NOT_FOUND(
                    f"{location} needs a KMS, and none was named",
                    hint="Name the KMS with --kms-instance.",
                )
            )
        return self.kms


def describe(part: str, fingerprint: Fingerprint) -> str:
    """A KMS description; user ids are personal data and stay out of it (Key Protect's rule)."""
    return _DESCRIPTION.format(part=part, fingerprint=fingerprint)


def load_signing_key(
    location: KeyLocation,
    shelf: KeyShelf,
    keyring: Keyring,
    *,
    expected: Fingerprint | None,
    now: datetime,
) -> tuple[PublicKey, tuple[Note, ...]]:
    """Import the secret key into the keyring, proven to be the expected one and fit to sign.

    Without an expected fingerprint a KMS key is held against its stored public half, and a key from
    elsewhere against nothing; both are noted. Raises `ImgsecError` (key-fingerprint-mismatch,
    key-unusable, key-expired, key-revoked, key-malformed) and `KeyNotFound`.
    """
    notes: tuple[Note, ...] = ()
    public_half: bytes | None = None
    if location.scheme == "kms":
        kms = shelf.require_kms(location)
        stored, payload = kms.fetch_key(location.name)
        if expected is None:
            public_half = fetch_public_half(location.name, stored, kms)
            notes = (Note("held-against-stored-public-half", "no fingerprint was given"),)
    else:
        payload = shelf.files.read_secret_key(location)
        if expected is None:
            notes = (
                Note("fingerprint-not-pinned", "no fingerprint was given; the key may be any"),
            )
    with _malformed_at(location):
        key = keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    if public_half is not None:
        expected = _fingerprint_of(public_half, key, keyring)
    if expected is not None and key.fingerprint != expected:
        raise ImgsecError(
            KEY_FINGERPRINT_MISMATCH(f"{location} holds {key.fingerprint}, expected {expected}")
        )
    if flaws := key.flaws(now):
        raise ImgsecError(flaws[0])
    return key, (*notes, *expiry_notes(key, now))


def expiry_notes(key: PublicKey, now: datetime) -> tuple[Note, ...]:
    """A warning while there is time left to renew or replace the key."""
    if key.expires is None or not key.is_expiring(now):
        return ()
    text = f"key {key.fingerprint} ends on {key.expires:%Y-%m-%d}, in {key.days_left(now)} days"
    return (Note("key-expiring", text),)


@contextmanager
def _malformed_at(location: KeyLocation) -> Iterator[None]:
    """Say where a malformed key is kept, and what to put there."""
    try:
        yield
    except ImgsecError as error:
        if error.reason.code != KEY_MALFORMED.code:
            raise
        text = f"{shown(str(location))}: {error.reason.text}"
        hint = _MALFORMED_HINTS.get(location.scheme)
        raise ImgsecError(KEY_MALFORMED(text, hint=hint)) from error


def _fingerprint_of(public_half: bytes, key: PublicKey, keyring: Keyring) -> Fingerprint:
    """The fingerprint of a stored public half; without asking gpg where it is the key's own."""
    if public_half == keyring.export_public_key(key.fingerprint, armour=False):
        return key.fingerprint
    return keyring.inspect_public_key(unwrapped(public_half)).fingerprint


def load_public_key(
    location: KeyLocation, shelf: KeyShelf, keyring: Keyring, *, expected: Fingerprint | None
) -> PublicKey:
    """Import a public key into the keyring. Never asks the KMS for a secret payload.

    A key from the web is taken by its fingerprint only. Raises `ImgsecError` (invalid-option,
    key-fingerprint-mismatch, key-malformed) and `KeyNotFound`.
    """
    if location.scheme == "https" and expected is None:
        raise ImgsecError(
            INVALID_OPTION(
                "a key from the web could be anybody's",
                hint="Give --fingerprint, as you know it from another place.",
            )
        )
    if location.scheme == "kms":
        kms = shelf.require_kms(location)
        content = fetch_public_half(location.name, kms.find_key(location.name), kms)
    else:
        content = shelf.files.read_public_key(location)
    with _malformed_at(location):
        key = keyring.import_public_key(unwrapped(content))
    if expected is not None and key.fingerprint != expected:
        raise ImgsecError(
            KEY_FINGERPRINT_MISMATCH(f"{location} holds {key.fingerprint}, expected {expected}")
        )
    return key


def read_published_key(location: KeyLocation, shelf: KeyShelf, keyring: Keyring) -> bytes:
    """A public key as it is published; a KMS key as set-up publishes it, armoured.

    Raises `ImgsecError` (key-malformed) and `KeyNotFound`.
    """
    if location.scheme != "kms":
        return shelf.files.read_public_key(location)
    key = load_public_key(location, shelf, keyring, expected=None)
    return keyring.export_public_key(key.fingerprint, armour=True)


def fetch_public_half(requested: str, stored: StoredKey, kms: KeyReader) -> bytes:
    """The public half that belongs to a stored signing key, or the key's own if it is one.

    requested: the alias or id that was asked for. An alias that the signing key has itself names no
    public half, whatever it ends in: its payload would be the secret.
    """
    bases = [name for name in stored.aliases if is_key_name(name)]
    bases.sort(key=lambda name: name != requested)
    names = [base + PUBLIC_ALIAS_SUFFIX for base in bases]
    candidates = [name for name in names if name not in stored.aliases]
    if not bases and stored.description.startswith(_PUBLIC_HALF):
        candidates = [requested]
    for name in candidates:
        try:
            return kms.fetch_key(name)[1].reveal()
        except KeyNotFound:
            continue
    raise KeyNotFound(
        KEY_NOT_FOUND(
            f"the KMS key {stored.id} has no public half beside it",
            hint="Run `imgsec setup-signing-keys` for its alias, or use file:PUBLIC_KEY.",
        )
    )
