# SPDX-License-Identifier: Apache-2.0
"""Keys: how one is named, where it is kept, and what its public half says.

Secret key bytes travel as `SecretBytes`, which nothing can print by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from imgsec.domain.algorithms import DEFAULT_ALGORITHM, KEY_ALGORITHMS
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    INVALID_ALIAS,
    INVALID_FINGERPRINT,
    INVALID_KEY_LOCATION,
    INVALID_OPTION,
    KEY_EXPIRED,
    KEY_MALFORMED,
    KEY_REVOKED,
    KEY_UNUSABLE,
    Reason,
)

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}")
_USER_ID = re.compile(r"[A-Za-z][A-Za-z0-9 ._@-]{4,99}(?:<[A-Za-z0-9._+@-]{3,100}>)?")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{2,90}")
# Printable, with no user, query or fragment: a credential has no place in an address.
_WEB_ADDRESS = re.compile(r"//[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9._~%!$&'()*+,;=:/-]+")
PUBLIC_ALIAS_SUFFIX = "-public"
REVOCATION_ALIAS_SUFFIX = "-revocation"
_PART_SUFFIXES = (PUBLIC_ALIAS_SUFFIX, REVOCATION_ALIAS_SUFFIX)
# The names of the keys on both sides while one replaces the other, and of one that is spent.
SUCCESSOR_SUFFIX, PREDECESSOR_SUFFIX = "-next", "-old"
RETIRED_PREFIX, REVOKED_PREFIX, SPARE_PREFIX = "retired-", "revoked-", "spare-"
_MARKS = (RETIRED_PREFIX, REVOKED_PREFIX, SPARE_PREFIX)
_ALIAS_MAX_CHARS = 90 - len(SUCCESSOR_SUFFIX) - max(map(len, _PART_SUFFIXES))
# Words that Key Protect keeps for its own paths.
_RESERVED_ALIASES = frozenset(
    "allowed_ip key keys metadata policy policies registration registrations ring rings rotate "
    "wrap unwrap rewrap version versions".split()
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The full fingerprint of a primary key: 40 hex digits, never a short key id.

    >>> str(Fingerprint.parse("ab" * 20)) == "AB" * 20
    True
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-fingerprint) for anything but 40 hex digits."""
        if not _FINGERPRINT.fullmatch(text):
            raise ImgsecError(INVALID_FINGERPRINT(f"{shown(text)} is not a key fingerprint"))
        return cls(text.upper())

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True)
class KeyAlias:
    """The name of a signing key in the KMS; what belongs to it has the alias and a suffix.

    >>> KeyAlias.parse("release").public
    'release-public'
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-alias). Grammar: Key Protect, less the suffix's length."""
        if (
            not _ALIAS.fullmatch(text)
            or len(text) > _ALIAS_MAX_CHARS
            or text in _RESERVED_ALIASES
            or is_uuid(text)
            or text.endswith((*_PART_SUFFIXES, SUCCESSOR_SUFFIX, PREDECESSOR_SUFFIX))
            or text.startswith(_MARKS)
        ):
            raise ImgsecError(INVALID_ALIAS(f"{shown(text)} cannot be the alias of a signing key"))
        return cls(text)

    @property
    def public(self) -> str:
        return self.text + PUBLIC_ALIAS_SUFFIX

    @property
    def revocation(self) -> str:
        return self.text + REVOCATION_ALIAS_SUFFIX

    @property
    def parts(self) -> tuple[str, str, str]:
        """The secret half, the public half and the revocation certificate."""
        return self.text, self.public, self.revocation

    @property
    def successor(self) -> KeyAlias:
        """The key that is to replace this one, until it has."""
        return KeyAlias(self.text + SUCCESSOR_SUFFIX)

    @property
    def predecessor(self) -> KeyAlias:
        """The key that this one replaces, until nothing needs it any more."""
        return KeyAlias(self.text + PREDECESSOR_SUFFIX)

    @classmethod
    def retired(cls, fingerprint: Fingerprint, key_id: str = "") -> Self:
        """The name of a key that another one has replaced for good; key_id: of a further copy."""
        return cls(_mark(RETIRED_PREFIX, fingerprint, key_id))

    @classmethod
    def revoked(cls, fingerprint: Fingerprint, key_id: str = "") -> Self:
        """The name that a key gets beside its own once it is revoked; key_id: a further copy's."""
        return cls(_mark(REVOKED_PREFIX, fingerprint, key_id))

    @classmethod
    def spare(cls, fingerprint: Fingerprint, key_id: str) -> Self:
        """The name of a copy that differs from the key in use by its end date only."""
        return cls(_mark(SPARE_PREFIX, fingerprint, key_id))

    def __str__(self) -> str:
        return self.text


def is_key_name(alias: str) -> bool:
    """Whether the alias can name a signing key itself, not what belongs to one."""
    return not alias.endswith(_PART_SUFFIXES)


def is_passing_name(alias: str) -> bool:
    """Whether the alias tells of a replacement or a revocation, beside a key's own name."""
    return alias.endswith((SUCCESSOR_SUFFIX, PREDECESSOR_SUFFIX)) or is_mark(alias)


def is_mark(alias: str) -> bool:
    """Whether the alias says what became of a key: replaced, revoked, or a spare copy."""
    return alias.startswith(_MARKS)


def _mark(prefix: str, fingerprint: Fingerprint, key_id: str) -> str:
    return f"{prefix}{fingerprint}" + (f"-{key_id[:8]}" if key_id else "")


def marked(prefix: str, aliases: Iterable[str]) -> Fingerprint | None:
    """Whose fingerprint a key with these aliases is marked with in that way; None if it is not.

    >>> str(marked(SPARE_PREFIX, ["spare-" + "AB" * 20 + "-0123abcd"])) == "AB" * 20
    True
    """
    for alias in aliases:
        words = alias.removeprefix(prefix).split("-")
        if alias.startswith(prefix) and _FINGERPRINT.fullmatch(words[0]):
            return Fingerprint.parse(words[0])
    return None


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in its usual form, as the KMS's own key ids are."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class KeyLocation:
    """Where a key is kept: a scheme and what it takes.

    >>> KeyLocation.parse("kms://release", allowed=("kms", "file")).name
    'release'
    """

    scheme: str
    name: str

    @classmethod
    def parse(cls, text: str, *, allowed: tuple[str, ...]) -> Self:
        """A bare UUID is a key id in the KMS, as the Secret portieris-keys has it.

        Raises `ImgsecError` (invalid-key-location, invalid-alias).
        """
        if is_uuid(text):
            text = f"kms://{text}"
        scheme, colon, name = text.partition(":")
        if scheme == "kms" and name.startswith("//"):
            name = name[2:]
        elif scheme == "kms":
            colon = ""
        if not colon or scheme not in allowed or not name or "\0" in name or "\n" in name:
            raise ImgsecError(
                INVALID_KEY_LOCATION(
                    f"{shown(text)} is not a key location",
                    hint="Use " + ", ".join(_SCHEME_FORMS[scheme] for scheme in allowed) + ".",
                )
            )
        if scheme == "https" and not _WEB_ADDRESS.fullmatch(name):
            raise ImgsecError(
                INVALID_KEY_LOCATION(f"{shown(text)} is not an address such as https://host/path")
            )
        if scheme == "kms" and not (is_uuid(name) or _ALIAS.fullmatch(name)):
            raise ImgsecError(INVALID_ALIAS(f"{shown(name)} is neither a KMS alias nor a key id"))
        return cls(scheme, name)

    def __str__(self) -> str:
        return f"kms://{self.name}" if self.scheme == "kms" else f"{self.scheme}:{self.name}"


@dataclass(frozen=True, slots=True)
class KmsPlace:
    """A key in a KMS: by alias or id, and which instance; host and instance None: as configured.

    >>> KmsPlace.parse("kms://release").name
    'release'
    """

    name: str
    host: str | None = None
    instance: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``kms://NAME`` or ``kms://HOST[:PORT]/INSTANCE/NAME``.

        Raises `ImgsecError` (invalid-key-location, invalid-alias).
        """
        parts = re.fullmatch(r"kms://([A-Za-z0-9.-]+(?::[0-9]{1,5})?)/([^/]+)/([^/]+)", text)
        if parts and not is_uuid(parts[2]):
            raise ImgsecError(
                INVALID_KEY_LOCATION(
                    f"{shown(text)}: {shown(parts[2])} is not the UUID of a KMS instance",
                    hint="Use kms://HOST/INSTANCE/ALIAS-OR-ID, or kms://ALIAS-OR-ID.",
                )
            )
        short = f"kms://{parts[3]}" if parts else text
        name = KeyLocation.parse(short, allowed=("kms",)).name
        return cls(name, parts[1], parts[2].lower()) if parts else cls(name)


_SCHEME_FORMS = {
    "kms": "kms://ALIAS-OR-ID",
    "file": "file:PATH",
    "env": "env:NAME",
    "secret": "secret:FILE",
    "https": "https://HOST/PATH",
}
SECRET_KEY_SCHEMES = ("kms", "file", "env")
PUBLIC_KEY_SCHEMES = ("kms", "file", "secret", "https")


class SecretBytes:
    """Bytes that must not be seen: neither `repr`, `str`, formatting nor pickling gives them away.

    >>> SecretBytes(b"hunter2")
    SecretBytes(7 bytes)
    """

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def reveal(self) -> bytes:
        """The bytes themselves: for a descriptor, a digest or an encoder, never for a message."""
        return self._content

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._content)} bytes)"

    def __eq__(self, other: object) -> bool:
        import hmac

        return isinstance(other, SecretBytes) and hmac.compare_digest(self._content, other._content)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> str:
        raise TypeError("secret bytes are not serialised")


def unwrapped(content: bytes, *, layers: int = 1) -> bytes:
    """An OpenPGP key, binary or armoured, out of the base64 layers that it was stored in.

    IBM's DevSecOps pipelines store base64 of base64; older scripts store it once. Binary OpenPGP
    begins with a byte whose top bit is set, so the layers can be told apart. Raises `ImgsecError`
    (key-malformed) for anything that is neither after so many layers.
    """
    import base64
    import binascii

    text = content.strip()
    if content[:1] >= b"\x80":
        return content
    if text.startswith(b"-----BEGIN PGP "):
        return text + b"\n"
    if layers > 0 and text:
        try:
            return unwrapped(base64.b64decode(b"".join(text.split()), validate=True), layers=0)
        except binascii.Error:
            pass
    raise ImgsecError(KEY_MALFORMED("it is neither binary nor armoured OpenPGP, nor base64 of it"))


@dataclass(frozen=True, slots=True)
class Subkey:
    """A subkey of a primary key. algorithm: as in `PublicKey`."""

    algorithm: str
    can_sign: bool


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a keyring says of one primary key.

    algorithm: OpenPGP's name and size, such as ``rsa4096`` or ``ed25519``.
    expires: None for a key without an end date. created and expires are in UTC.
    can_sign: the primary key itself. subkeys: all of them, revoked and ended ones too.
    """

    fingerprint: Fingerprint
    algorithm: str
    created: datetime
    expires: datetime | None
    can_sign: bool
    is_revoked: bool
    subkeys: tuple[Subkey, ...] = ()

    def flaws(self, now: datetime) -> tuple[Reason, ...]:
        """Why this key must not sign now; empty for a usable one.

        The limits are those of the strictest verifiers: the Go OpenPGP build inside Portieris reads
        RSA and NIST curves only, and skopeo up to 1.20 refuses what a subkey signed. A subkey that
        only encrypts, as older scripts made beside every key, does no harm.
        """
        found = []
        if self.is_revoked:
            found.append(KEY_REVOKED(f"key {self.fingerprint} is revoked"))
        if self.expires is not None and self.expires <= now:
            found.append(KEY_EXPIRED(f"key {self.fingerprint} ended on {self.expires:%Y-%m-%d}"))
        if not self.can_sign:
            found.append(KEY_UNUSABLE(f"key {self.fingerprint} is not made for signing"))
        if any(subkey.can_sign for subkey in self.subkeys):
            found.append(
                KEY_UNUSABLE(
                    f"key {self.fingerprint} has a subkey that signs, and verifiers refuse that"
                )
            )
        for algorithm in (self.algorithm, *(subkey.algorithm for subkey in self.subkeys)):
            if not is_readable_everywhere(algorithm):
                found.append(
                    KEY_UNUSABLE(f"Portieris cannot read {algorithm} keys like {self.fingerprint}")
                )
        if self.is_short:
            found.append(KEY_UNUSABLE(f"{self.algorithm} is too short for a signing key"))
        return tuple(dict.fromkeys(found))

    def days_left(self, now: datetime) -> int | None:
        """Whole days until its end, 0 on the last one; None for a key without an end date."""
        return None if self.expires is None else max((self.expires - now).days, 0)

    def is_expiring(self, now: datetime) -> bool:
        """Whether its end is near, so that its successor should be made."""
        left = self.days_left(now)
        return left is not None and left <= EXPIRING_DAYS

    @property
    def is_short(self) -> bool:
        """An RSA or DSA key that no longer protects, for whoever verifies with it too."""
        size = re.fullmatch(r"(?:rsa|dsa)(\d+)", self.algorithm)
        return size is not None and int(size[1]) < _MIN_BITS


def is_readable_everywhere(algorithm: str) -> bool:
    """Whether every verifier reads keys of this algorithm: RSA and the NIST curves."""
    return re.fullmatch(r"rsa\d+|nistp\d+", algorithm) is not None


EXPIRING_DAYS = 60  # ours: two months to rotate or renew
_MIN_BITS = 2048  # NIST SP 800-131A: shorter RSA and DSA keys are disallowed


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """The signing key that set-up makes: a sign-only primary key with an end date.

    algorithm: one of `KEY_ALGORITHMS`, which every verifier reads. valid_days: from today.
    """

    user_id: str
    algorithm: str = DEFAULT_ALGORITHM
    valid_days: int = 730

    def __post_init__(self) -> None:
        """Raises `ImgsecError` (invalid-option): gpg would read a line end as a further command."""
        if self.algorithm not in KEY_ALGORITHMS:
            raise ImgsecError(
                INVALID_OPTION(
                    f"{shown(self.algorithm)} is not an algorithm for signing keys",
                    hint=f"Choose one of {', '.join(KEY_ALGORITHMS)}.",
                )
            )
        if not _USER_ID.fullmatch(self.user_id):
            raise ImgsecError(
                INVALID_OPTION(
                    f"{shown(self.user_id)} is not a user id",
                    hint="Give 5 to 100 letters, digits, simple punctuation: NAME or NAME <MAIL>.",
                )
            )

    @property
    def name(self) -> str:
        return self.user_id.partition("<")[0].strip()

    @property
    def mail(self) -> str | None:
        return self.user_id.partition("<")[2].rstrip(">") or None
