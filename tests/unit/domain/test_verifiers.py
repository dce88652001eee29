# SPDX-License-Identifier: Apache-2.0
"""Who reads which key: as executed with Portieris's library and with GPGME."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, PublicKey, Subkey
from imgsec.domain.verifiers import (
    PublishedKeys,
    Verifier,
    armoured_blocks,
    armoured_kinds,
    judge_key,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
RSA, EDDSA, NIST = (Fingerprint(letter * 40) for letter in "ABC")


def key(fingerprint: Fingerprint = RSA, **changes: Any) -> PublicKey:
    algorithm = {RSA: "rsa4096", EDDSA: "ed25519", NIST: "nistp256"}[fingerprint]
    fields = {
        "fingerprint": fingerprint,
        "algorithm": algorithm,
        "created": NOW - timedelta(days=9),
        "expires": None,
        "can_sign": True,
        "is_revoked": False,
        **changes,
    }
    return PublicKey(**fields)


def codes(verifier: Verifier, published: PublishedKeys, signer: Fingerprint = RSA) -> list[str]:
    return [reason.code for reason in judge_key(verifier, signer, published, NOW).reasons]


def one_block(*keys: PublicKey) -> PublishedKeys:
    return PublishedKeys(1, keys, keys)


@pytest.mark.parametrize(
    ("published", "signer", "portieris", "podman"),
    [
        (one_block(key()), RSA, [], []),
        (one_block(key(NIST)), NIST, [], []),
        (one_block(key(EDDSA)), EDDSA, ["key-unreadable"], []),
        (one_block(key(expires=NOW)), RSA, [], ["key-expired"]),
        (one_block(key(is_revoked=True)), RSA, ["key-revoked"], ["key-revoked"]),
        (one_block(key(can_sign=False)), RSA, ["key-unusable"], ["key-unusable"]),
        (PublishedKeys(0, (), (key(),)), RSA, ["key-unreadable"], []),
        (one_block(), RSA, ["key-unreadable"], ["key-unreadable"]),
        # Two blocks: the first only.
        (PublishedKeys(2, (key(),), (key(), key(NIST))), RSA, [], []),
        (PublishedKeys(2, (key(),), (key(), key(NIST))), NIST, ["key-unreadable"], []),
        # One unreadable key in a block takes the one before it along.
        (one_block(key(), key(EDDSA)), RSA, ["key-unreadable"], []),
        (one_block(key(EDDSA), key()), RSA, [], []),
        (one_block(key(), key(EDDSA), key(NIST)), RSA, ["key-unreadable"], []),
        (one_block(key(), key(EDDSA), key(NIST)), NIST, [], []),
        # An encryption subkey does no harm, unless it cannot be read.
        (one_block(key(subkeys=(Subkey("rsa2048", can_sign=False),))), RSA, [], []),
        (one_block(key(subkeys=(Subkey("cv25519", can_sign=False),))), RSA, ["key-unreadable"], []),
        (
            one_block(key(subkeys=(Subkey("rsa2048", can_sign=True),))),
            RSA,
            ["key-unusable"],
            ["key-unusable"],
        ),
    ],
)
def test_each_verifier_answers_for_itself(
    published: PublishedKeys, signer: Fingerprint, portieris: list[str], podman: list[str]
) -> None:
    assert codes(Verifier.PORTIERIS, published, signer) == portieris
    assert codes(Verifier.GPGME, published, signer) == podman


def test_blocks_are_found_wherever_they_stand() -> None:
    block = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n-----END PGP PUBLIC KEY BLOCK-----"
    assert armoured_blocks(b"words\n" + block + b"\nmore\n" + block) == (block, block)
    assert armoured_blocks(b"\x99\x01") == ()
    assert armoured_blocks(block[:-1]) == ()
    assert armoured_blocks(b"  " + block) == (), "gpg takes no indented armour"
    assert armoured_kinds(b"  -----BEGIN PGP SIGNATURE-----\n" + block) == (
        "SIGNATURE",
        "PUBLIC KEY BLOCK",
    )
