# SPDX-License-Identifier: Apache-2.0
"""Which verifier reads which published key: they differ, and none says so.

Portieris is built with a frozen Go OpenPGP library: the first armoured block only, no Ed25519, and
a key that it cannot read takes the one before it along; it ignores the end date. Podman, CRI-O and
skopeo ask GPGME, which reads everything and believes no key after its end date (executed: Portieris
0.14.2's library, skopeo 1.9.3 with GnuPG 2.2.40).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from imgsec.domain.keys import Fingerprint, PublicKey, is_readable_everywhere
from imgsec.domain.signature import MessageForm, OpenPGPMessage
from imgsec.domain.verdict import Verdict, because, passed
from imgsec.reasons import (
    KEY_EXPIRED,
    KEY_REVOKED,
    KEY_UNREADABLE,
    KEY_UNUSABLE,
    SIGNATURE_EXPIRED,
    SIGNATURE_INVALID,
    SIGNATURE_UNTRUSTED,
    SIGNATURE_WEAK,
    Reason,
)

# At the beginning of a line: gpg takes no others.
_BLOCK = re.compile(
    rb"^-----BEGIN PGP PUBLIC KEY BLOCK-----.*?^-----END PGP PUBLIC KEY BLOCK-----", re.S | re.M
)
_HEAD = re.compile(rb"-----BEGIN PGP ([A-Z ,/0-9]+)-----")
_GO_READS_TOO = re.compile(r"dsa\d+|elgamal")
_GO_LINE_MAX = 96
_NOT_IN_GO = ("RIPEMD160",)
_STRONG_DIGESTS = ("SHA224", "SHA256", "SHA384", "SHA512")


class Verifier(StrEnum):
    """Who checks simple signatures."""

    PORTIERIS = "portieris"
    GPGME = "podman"  # and CRI-O, skopeo, OpenShift: containers/image with GPGME
    STRICT = "strict"  # what all of them accept, and nothing that proves too little


READERS = (Verifier.PORTIERIS, Verifier.GPGME)  # those that run in a cluster or on its nodes


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """The content of a key file or of a Secret's data key, as it was read.

    first: the keys of the first armoured block, in their order, none if it holds something else;
    blocks: how many have keys, 0 for a binary export. every: the keys of all blocks.
    """

    blocks: int
    first: tuple[PublicKey, ...]
    every: tuple[PublicKey, ...]


def armoured_blocks(content: bytes) -> tuple[bytes, ...]:
    """The armoured public key blocks in the content; none for a binary export.

    >>> armoured_blocks(b"no key at all")
    ()
    """
    return tuple(_BLOCK.findall(content))


def armoured_kinds(content: bytes) -> tuple[str, ...]:
    """What each armoured block is, in their order, wherever on its line it begins.

    >>> armoured_kinds(b"-----BEGIN PGP SIGNATURE-----")
    ('SIGNATURE',)
    """
    return tuple(kind.decode("ascii") for kind in _HEAD.findall(content))


def is_read_by_go(block: bytes) -> bool:
    """Whether Go's armour reader takes an armoured block, which is stricter than gpg's.

    golang.org/x/crypto, `openpgp/armor/armor.go`: headers have a colon and a blank, an empty line
    ends them, and no line of the body is longer than 96 characters.
    """
    lines = [line.strip() for line in block.splitlines()][1:]
    if b"" not in lines:
        return False
    end = lines.index(b"")
    return all(b": " in line for line in lines[:end]) and all(
        len(line) <= _GO_LINE_MAX for line in lines[end:]
    )


def judge_key(
    verifier: Verifier, signer: Fingerprint, published: PublishedKeys, now: datetime
) -> Verdict:
    """Whether this verifier would accept what this key signs from now on.

    It stands in the way of that, too, if skopeo would sign with a subkey.
    """
    key = _key(signer, published)
    reasons = [
        *key_flaws(verifier, signer, published, now),
        *(_unfit_to_sign(key) if key is not None else ()),
    ]
    return because(*reasons) if reasons else passed()


def key_flaws(
    verifier: Verifier, signer: Fingerprint, published: PublishedKeys, now: datetime
) -> tuple[Reason, ...]:
    """Why this verifier believes nothing that this key has signed, given what is published."""
    if verifier is Verifier.PORTIERIS:
        return tuple(_as_portieris(signer, published))
    if verifier is Verifier.GPGME:
        return tuple(_as_gpgme(signer, published, now))
    key = _key(signer, published)
    every = [reason for reader in READERS for reason in key_flaws(reader, signer, published, now)]
    return tuple(dict.fromkeys([*every, *(spent(key, now) if key is not None else ())]))


def spent(key: PublicKey, now: datetime) -> tuple[Reason, ...]:
    """Why no signature of this key counts any more, however it is published."""
    found = [*_revoked(key), *_ended(key, now)]
    if key.is_short:
        text = f"key {key.fingerprint} is {key.algorithm}, too short to prove anything"
        found.append(KEY_UNUSABLE(text))
    return tuple(found)


def message_flaws(verifier: Verifier, message: OpenPGPMessage) -> tuple[Reason, ...]:
    """Why this verifier believes a message not, whatever it says and whatever it thinks of the key.

    Executed: containers/image 5.39 built as Portieris builds it, skopeo 1.9.3 with GnuPG 2.2.40.
    """
    if verifier is Verifier.STRICT:
        every = [reason for reader in READERS for reason in message_flaws(reader, message)]
        return tuple(dict.fromkeys([*every, *_proves_too_little(message)]))
    found = []
    if message.key_is_revoked:
        found.append(KEY_REVOKED(f"the signature's key {message.signer} is revoked"))
    if message.has_expired:
        found.append(SIGNATURE_EXPIRED("the signature is past its own end date"))
    if verifier is Verifier.GPGME:
        if message.form is MessageForm.FOLLOWED:
            found.append(SIGNATURE_INVALID("there are further bytes behind the signature"))
        if message.key_has_ended:
            found.append(KEY_EXPIRED(f"the signature's key {message.signer} has ended"))
        if message.made_by != message.signer:
            text = f"the signature was made by the subkey {message.made_by}"
            found.append(SIGNATURE_UNTRUSTED(f"{text}, which skopeo up to 1.20 does not know"))
        return tuple(found)
    if message.form not in (MessageForm.ONE_PASS, MessageForm.FOLLOWED):
        found.append(SIGNATURE_INVALID("Portieris reads binary one-pass messages only"))
    if message.unknown_to_go:
        found.append(SIGNATURE_INVALID("Portieris does not know a critical part of the signature"))
    if message.digest_algorithm in _NOT_IN_GO:
        text = f"Portieris does not know {message.digest_algorithm}, on which the signature rests"
        found.append(SIGNATURE_WEAK(text))
    return tuple(found)


def _proves_too_little(message: OpenPGPMessage) -> list[Reason]:
    found = []
    if message.digest_algorithm not in _STRONG_DIGESTS:
        found.append(SIGNATURE_WEAK(f"the signature rests on {message.digest_algorithm}"))
    if not message.is_binary:
        found.append(SIGNATURE_INVALID("the signature is not over a binary document"))
    return found


def _key(signer: Fingerprint, published: PublishedKeys) -> PublicKey | None:
    return next((key for key in published.every if key.fingerprint == signer), None)


def _as_portieris(signer: Fingerprint, published: PublishedKeys) -> list[Reason]:
    if published.blocks == 0:
        return [KEY_UNREADABLE("Portieris reads armoured keys only, and this is a binary export")]
    if signer not in [key.fingerprint for key in published.first]:
        if signer in [key.fingerprint for key in published.every]:
            text = f"Portieris reads the first armoured block only, and {signer} is in another"
            hint = "Export all keys together into one block: gpg --armor --export KEY KEY."
            return [KEY_UNREADABLE(text, hint=hint)]
        return [KEY_UNREADABLE(f"what is published does not hold {signer}")]
    place = [key.fingerprint for key in published.first].index(signer)
    key = published.first[place]
    reasons = []
    if not _is_readable(key):
        reasons.append(KEY_UNREADABLE(f"Portieris cannot read {key.algorithm} keys like {signer}"))
    elif not all(map(_is_readable, published.first[place + 1 : place + 2])):
        after = published.first[place + 1]
        reasons.append(
            KEY_UNREADABLE(
                f"Portieris loses {signer}, since it cannot read {after.fingerprint} behind it",
                hint="Publish the keys without the one that it cannot read.",
            )
        )
    return [*reasons, *_revoked(key)]


def _as_gpgme(signer: Fingerprint, published: PublishedKeys, now: datetime) -> list[Reason]:
    key = _key(signer, published)
    if key is None:
        return [KEY_UNREADABLE(f"what is published does not hold {signer}")]
    return [*_revoked(key), *_ended(key, now)]


def _revoked(key: PublicKey) -> list[Reason]:
    return [KEY_REVOKED(f"key {key.fingerprint} is revoked")] if key.is_revoked else []


def _ended(key: PublicKey, now: datetime) -> list[Reason]:
    if key.expires is None or key.expires > now:
        return []
    return [KEY_EXPIRED(f"key {key.fingerprint} ended on {key.expires:%Y-%m-%d}")]


def _unfit_to_sign(key: PublicKey) -> list[Reason]:
    reasons = []
    if not key.can_sign:
        reasons.append(KEY_UNUSABLE(f"key {key.fingerprint} is not made for signing"))
    if any(subkey.can_sign for subkey in key.subkeys):
        reasons.append(KEY_UNUSABLE(f"key {key.fingerprint} has a subkey that signs"))
    return reasons


def _is_readable(key: PublicKey) -> bool:
    algorithms = (key.algorithm, *(subkey.algorithm for subkey in key.subkeys))
    return all(is_readable_everywhere(one) or _GO_READS_TOO.fullmatch(one) for one in algorithms)
