# SPDX-License-Identifier: Apache-2.0
"""Find a key where it is kept, and hold it against what was expected before anything uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from imgsec.domain.keys import (
    PREDECESSOR_SUFFIX,
    PUBLIC_ALIAS_SUFFIX,
    RETIRED_PREFIX,
    REVOCATION_ALIAS_SUFFIX,
    REVOKED_PREFIX,
    SUCCESSOR_SUFFIX,
    Fingerprint,
    KeyAlias,
    KeyLocation,
    PublicKey,
    SecretBytes,
    is_key_name,
    is_mark,
    marked,
    unwrapped,
)
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.ports import KeyReader, Keyring, SecretSource, StoredKey
from imgsec.reasons import (
    INVALID_OPTION,
    KEY_FINGERPRINT_MISMATCH,
    KEY_MALFORMED,
    KEY_MOVING,
    KEY_NOT_FOUND,
    KEY_RETIRED,
    KEY_REVOKED,
)

_MALFORMED_HINTS = {
    "file": "Put one exported OpenPGP key into the file, binary or armoured.",
    "env": "Set the variable to one exported secret key, armoured or as base64.",
    "https": "Publish one exported public key there, binary or armoured.",
    "secret": "Put one armoured public key into the Secret, under the data key named key.",
}
PRIVATE_KEY_NAME = "portieris-image-signing-private-key"  # the older scripts' name; not unique
DESCRIPTION_PREFIX = "imgsec "
SIGNING_PART, PUBLIC_PART = "secret half", "public half"
REVOCATION_PART = "revocation certificate"
_DESCRIPTION = "imgsec {part}, OpenPGP fingerprint {fingerprint}"
_PUBLIC_HALF = "imgsec public half"
_TRANSITION = (SUCCESSOR_SUFFIX, PREDECESSOR_SUFFIX)


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


def described_key(stored: StoredKey) -> Fingerprint | None:
    """Whose half it is by its description; None for what imgsec did not store."""
    digits = stored.description.rpartition(" ")[2]
    if not stored.description.startswith(DESCRIPTION_PREFIX):
        return None
    try:
        return Fingerprint.parse(digits)
    except ImgsecError:
        return None


def is_of_older_set_up(stored: StoredKey) -> bool:
    """By the name that older scripts gave to secret halves, and by having no alias.

    What imgsec stored has the same name; without an alias it is out of use.
    """
    is_ours = stored.description.startswith(DESCRIPTION_PREFIX)
    return stored.name == PRIVATE_KEY_NAME and not stored.aliases and not is_ours


def is_made_to_replace(alias: KeyAlias, stored: StoredKey) -> bool:
    """Whether the key under the name of the successor was made for that.

    It has no names but those of the move: it is no other alias's signing key.
    """
    own = {str(alias), str(alias.successor)}
    others = [name for name in stored.aliases if is_key_name(name) and not is_mark(name)]
    return own.issuperset(others) and described_key(stored) is not None


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
        with moving_is_not_missing(location.name, kms):
            stored, payload = kms.fetch_key(location.name)
        require_in_use(location.name, stored)
        if expected is None:
            public_half = fetch_public_half(location.name, stored, kms)
            notes = (Note("held-against-stored-public-half", "no fingerprint was given"),)
    else:
        payload = shelf.files.read_secret_key(location)
        if expected is None:
            notes = (
                Note("fingerprint-not-pinned", "no fingerprint was given; the key may be any"),
            )
    with malformed_at(location):
        key = keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    if public_half is not None:
        expected = _fingerprint_of(public_half, key, keyring)
    require_fit(key, expected, str(location), now)
    return key, (*notes, *expiry_notes(now, key))


def require_fit(key: PublicKey, expected: Fingerprint | None, where: str, now: datetime) -> None:
    """Raises `ImgsecError` unless it is the expected key and may sign.

    (key-fingerprint-mismatch, key-unusable, key-expired, key-revoked)
    """
    if expected is not None and key.fingerprint != expected:
        raise ImgsecError(
            KEY_FINGERPRINT_MISMATCH(f"{where} is {key.fingerprint}, expected {expected}")
        )
    if flaws := key.flaws(now):
        raise ImgsecError(flaws[0])


def expiry_notes(now: datetime, *keys: PublicKey) -> tuple[Note, ...]:
    """A warning while there is time left to renew or replace a key."""
    return tuple(
        Note(
            "key-expiring",
            f"key {key.fingerprint} ends on {key.expires:%Y-%m-%d}, in {key.days_left(now)} days",
        )
        for key in keys
        if key.expires is not None and key.is_expiring(now)
    )


@contextmanager
def malformed_at(location: KeyLocation) -> Iterator[None]:
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
    if public_half == keyring.export_public_key(key.fingerprint):
        return key.fingerprint
    return keyring.inspect_public_key(unwrapped(public_half)).fingerprint


def require_in_use(requested: str, stored: StoredKey) -> None:
    """Raises `ImgsecError` (key-moving, key-retired, key-revoked) for a key that must not sign.

    requested: the alias or id that was asked for. The KMS tells by further aliases what became of a
    key, since it can change nothing else of one.
    """
    if (revoked := marked(REVOKED_PREFIX, stored.aliases)) is not None:
        raise ImgsecError(KEY_REVOKED(f"key {revoked} ({stored.id}) is revoked"))
    if (retired := marked(RETIRED_PREFIX, stored.aliases)) is not None:
        if requested + SUCCESSOR_SUFFIX in stored.aliases:  # it is being taken back
            raise ImgsecError(KEY_MOVING(f"the alias {requested} is about to leave {stored.id}"))
        raise ImgsecError(KEY_RETIRED(f"key {retired} ({stored.id}) has been replaced"))
    if requested + PREDECESSOR_SUFFIX in stored.aliases:
        raise ImgsecError(KEY_MOVING(f"the alias {requested} is about to leave {stored.id}"))


def find_or_none(kms: KeyReader, name: str) -> StoredKey | None:
    """The key of that alias or id, without its payload; None where the KMS knows none."""
    try:
        return kms.find_key(name)
    except KeyNotFound:
        return None


@contextmanager
def moving_is_not_missing(requested: str, kms: KeyReader) -> Iterator[None]:
    """An alias that no key has at the moment, since it moves, is not unknown.

    Raises `ImgsecError` (key-moving).
    """
    try:
        yield
    except KeyNotFound:
        try:
            successor = kms.find_key(requested + SUCCESSOR_SUFFIX)
        except KeyNotFound:
            pass
        else:
            text = f"the alias {requested} is on its way to {successor.id}"
            raise ImgsecError(KEY_MOVING(text)) from None
        raise


def find_moving(kms: KeyReader, name: str) -> StoredKey:
    """The key of that alias or id. Raises `KeyNotFound`, `ImgsecError` (key-moving)."""
    with moving_is_not_missing(name, kms):
        return kms.find_key(name)


def require_pinned(location: KeyLocation, expected: Fingerprint | None) -> None:
    """Raises `ImgsecError` (invalid-option) for a key from the web without its fingerprint."""
    if location.scheme == "https" and expected is None:
        raise ImgsecError(
            INVALID_OPTION(
                "a key from the web could be anybody's",
                hint="Give --fingerprint, as you know it from another place.",
            )
        )


def load_public_keys_in_kms(
    location: KeyLocation, kms: KeyReader, keyring: Keyring
) -> tuple[PublicKey, ...]:
    """The key's public half; and its predecessor's, as long as that is still published.

    Raises `ImgsecError` (key-malformed, key-moving, key-retired, key-revoked) and `KeyNotFound`.
    """
    name = location.name
    stored = find_moving(kms, name)
    if name + PREDECESSOR_SUFFIX in stored.aliases:
        require_in_use(name, stored)
    with malformed_at(location):
        keys = [load_public_half(name, stored, kms, keyring)]
        if name + SUCCESSOR_SUFFIX in stored.aliases:
            with suppress(KeyNotFound):
                predecessor = kms.find_key(name + PREDECESSOR_SUFFIX)
                keys.append(load_public_half(name, predecessor, kms, keyring))
    return tuple(dict.fromkeys(keys))


def load_public_half(
    requested: str, stored: StoredKey, kms: KeyReader, keyring: Keyring
) -> PublicKey:
    """Import the public half of a stored key; a revoked one with its certificate.

    requested: as for `fetch_public_half`. Raises `KeyNotFound` and (key-malformed).
    """
    key = import_public_half(fetch_public_half(requested, stored, kms), keyring)
    if marked(REVOKED_PREFIX, stored.aliases) != key.fingerprint:
        return key
    return _revoked(key, stored, kms, keyring)


def _revoked(key: PublicKey, stored: StoredKey, kms: KeyReader, keyring: Keyring) -> PublicKey:
    """The key of the keyring with its revocation, if the certificate is still there."""
    try:
        return keyring.revoke_key(key.fingerprint, fetch_revocation(stored, kms))
    except KeyNotFound:
        return replace(key, is_revoked=True)


def fetch_revocation(stored: StoredKey, kms: KeyReader) -> bytes:
    """The certificate that lies beside a signing key, or was kept when it was revoked.

    Raises `KeyNotFound`.
    """
    names = [name + REVOCATION_ALIAS_SUFFIX for name in own_names("", stored)]
    if (revoked := marked(REVOKED_PREFIX, stored.aliases)) is not None:
        names.append(KeyAlias.revoked(revoked).revocation)
    for name in dict.fromkeys(names):
        try:
            return kms.fetch_key(name)[1].reveal()
        except KeyNotFound:
            continue
    raise KeyNotFound(
        KEY_NOT_FOUND(
            f"the KMS key {stored.id} has no revocation certificate beside it",
            hint="Run `imgsec setup-signing-keys` for its alias, which makes one.",
        )
    )


def import_public_half(content: bytes, keyring: Keyring) -> PublicKey:
    """Import a public half as it is stored. Raises `ImgsecError` (key-malformed) for several."""
    keys = keyring.import_public_keys(unwrapped(content))
    if len(keys) != 1:
        raise ImgsecError(KEY_MALFORMED(f"it holds {len(keys)} public keys"))
    return keys[0]


def read_published_key(
    location: KeyLocation, shelf: KeyShelf, keyring: Keyring, *, expected: Fingerprint | None
) -> bytes:
    """A public key as it is published; a KMS key as imgsec publishes it, armoured.

    Raises `ImgsecError` (invalid-option, key-malformed) and `KeyNotFound`.
    """
    require_pinned(location, expected)
    if location.scheme != "kms":
        return shelf.files.read_public_key(location)
    keys = load_keys_to_publish(location, shelf.require_kms(location), keyring)
    return keyring.export_block([key.fingerprint for key in keys])


def load_keys_to_publish(
    location: KeyLocation, kms: KeyReader, keyring: Keyring
) -> tuple[PublicKey, ...]:
    """What belongs into a copy of one's own: the key that signs first, then the one that will.

    And the predecessor's, as long as that is published. Raises as `load_public_keys_in_kms`.
    """
    keys = list(load_public_keys_in_kms(location, kms, keyring))
    alias = KeyAlias(location.name)
    successor = find_or_none(kms, str(alias.successor))
    if successor is not None and is_made_to_replace(alias, successor):
        with suppress(KeyNotFound), malformed_at(location):  # it may be half made
            keys.append(load_public_half(location.name, successor, kms, keyring))
    found = tuple({key.fingerprint: key for key in keys}.values())
    for key in found:
        _require_its_revocation(key, keyring)
    return found


def _require_its_revocation(key: PublicKey, keyring: Keyring) -> None:
    """A copy of a revoked key must say so. Raises `ImgsecError` (key-revoked) if it would not."""
    if not key.is_revoked:
        return
    (exported,) = keyring.inspect_public_keys(keyring.export_block([key.fingerprint]))
    if not exported.is_revoked:
        text = f"key {key.fingerprint} is revoked, and the certificate that says so is not there"
        raise ImgsecError(KEY_REVOKED(text, hint="Revoke it again: imgsec keys revoke."))


def own_names(requested: str, stored: StoredKey) -> list[str]:
    """By which names what belongs to a signing key is looked for; requested: which first.

    While an alias moves, the name of a part may still lead to the other key's: the names of the
    move come before it.
    """
    names = filter(is_key_name, stored.aliases)
    return sorted(names, key=lambda name: (not name.endswith(_TRANSITION), name != requested))


def fetch_public_half(requested: str, stored: StoredKey, kms: KeyReader) -> bytes:
    """The public half that belongs to a stored signing key, or the key's own if it is one.

    requested: the alias or id that was asked for. An alias that the signing key has itself names no
    public half, whatever it ends in: its payload would be the secret.
    """
    bases = own_names(requested, stored)
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
