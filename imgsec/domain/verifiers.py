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
from imgsec.domain.verdict import Verdict, because, passed
from imgsec.reasons import KEY_EXPIRED, KEY_REVOKED, KEY_UNREADABLE, KEY_UNUSABLE, Reason

# At the beginning of a line: gpg takes no others.
_BLOCK = re.compile(
    rb"^-----BEGIN PGP PUBLIC KEY BLOCK-----.*?^-----END PGP PUBLIC KEY BLOCK-----", re.S | re.M
)
_HEAD = re.compile(rb"-----BEGIN PGP ([A-Z ,/0-9]+)-----")


class Verifier(StrEnum):
    """Who checks simple signatures."""

    PORTIERIS = "portieris"
    GPGME = "podman"  # and CRI-O, skopeo, OpenShift: containers/image with GPGME


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


def judge_key(
    verifier: Verifier, signer: Fingerprint, published: PublishedKeys, now: datetime
) -> Verdict:
    """Whether this verifier would accept signatures of this key, given what is published."""
    judge = _as_portieris if verifier is Verifier.PORTIERIS else _as_gpgme
    reasons = judge(signer, published, now)
    return because(*reasons) if reasons else passed()


def _as_portieris(signer: Fingerprint, published: PublishedKeys, _: datetime) -> list[Reason]:
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
    return [*reasons, *_spent(key)]


def _as_gpgme(signer: Fingerprint, published: PublishedKeys, now: datetime) -> list[Reason]:
    key = next((one for one in published.every if one.fingerprint == signer), None)
    if key is None:
        return [KEY_UNREADABLE(f"what is published does not hold {signer}")]
    reasons = _spent(key)
    if key.expires is not None and key.expires <= now:
        reasons.append(KEY_EXPIRED(f"key {signer} ended on {key.expires:%Y-%m-%d}"))
    return reasons


def _spent(key: PublicKey) -> list[Reason]:
    """What no verifier accepts."""
    reasons = []
    if key.is_revoked:
        reasons.append(KEY_REVOKED(f"key {key.fingerprint} is revoked"))
    if not key.can_sign:
        reasons.append(KEY_UNUSABLE(f"key {key.fingerprint} is not made for signing"))
    if any(subkey.can_sign for subkey in key.subkeys):
        reasons.append(KEY_UNUSABLE(f"key {key.fingerprint} has a subkey that signs"))
    return reasons


def _is_readable(key: PublicKey) -> bool:
    algorithms = (key.algorithm, *(subkey.algorithm for subkey in key.subkeys))
    return all(map(is_readable_everywhere, algorithms))
