# SPDX-License-Identifier: Apache-2.0
"""Bring a signing key from one KMS instance to another, and its public half to a file."""

from __future__ import annotations

from datetime import datetime

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyLocation
from imgsec.operations.setup_signing_keys import SetUp, Wanted, store_signing_key
from imgsec.operations.signing_key import KeyShelf, load_signing_key
from imgsec.ports import Keyring, KeyWriter


def copy_key(
    source: KeyLocation,
    shelf: KeyShelf,
    destination: KeyWriter,
    alias: KeyAlias,
    keyring: Keyring,
    *,
    expected: Fingerprint | None,
    now: datetime,
) -> SetUp:
    """Store a key of one KMS in another one, under an alias there, and read it back.

    The key must be the expected one, or belong to the public half that is stored beside it. What
    is there already is left alone if it is the same key. Raises `ImgsecError` (key-conflict,
    key-fingerprint-mismatch, key-store-mismatch and what the ports raise).
    """
    key, _ = load_signing_key(source, shelf, keyring, expected=expected, now=now)
    secret = keyring.export_secret_key(key.fingerprint)
    wanted = Wanted(alias, secret, expected=key.fingerprint, looks_back=False)
    return store_signing_key(wanted, kms=destination, keyring=keyring, now=now)
