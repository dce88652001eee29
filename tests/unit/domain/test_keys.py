# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imgsec.domain.keys import (
    PUBLIC_KEY_SCHEMES,
    SECRET_KEY_SCHEMES,
    Fingerprint,
    KeyAlias,
    KeyLocation,
    KeyRequest,
    PublicKey,
    SecretBytes,
    Subkey,
    unwrapped,
)
from tests.unit.refusals import refused

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BINARY = b"\x95\x07\x18\x04secret key packet \x00\xff"
ARMOURED = (
    b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQcYBA==\n-----END PGP PRIVATE KEY BLOCK-----\n"
)
UUID = "0a1b2c3d-1234-4abc-8def-0123456789ab"


def key(**changes: object) -> PublicKey:
    usable = PublicKey(
        fingerprint=Fingerprint("AB" * 20),
        algorithm="rsa4096",
        created=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=1),
        can_sign=True,
        is_revoked=False,
    )
    return replace(usable, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AB" * 4,
        "AB" * 8,
        "AB" * 16,
        "AB" * 32,
        "0x" + "AB" * 20,
        "AB" * 19 + "AG",
        "AB" * 20 + "!",
        "AB" * 20 + "\n",
        " ".join(["ABCD"] * 10),
        "a@example.com",
    ],
)
def test_nothing_but_40_hex_digits_selects_a_key(text: str) -> None:
    with refused("invalid-fingerprint"):
        Fingerprint.parse(text)


def test_fingerprint_compares_without_regard_to_case() -> None:
    assert Fingerprint.parse("ab" * 20) == Fingerprint.parse("AB" * 20)


@pytest.mark.parametrize("text", ["release", "a_", "A-1", "x" * 74])
def test_alias_leaves_room_for_what_belongs_to_it(text: str) -> None:
    alias = KeyAlias.parse(text)
    assert max(len(alias.public), len(alias.revocation)) <= 90


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "x" * 80,
        "a b",
        "a/b",
        "../keys",
        "keys",
        "policies",
        "release-public",
        "release-revocation",
        UUID,
        "release\n",
        "\u00e4lias",
        "a?b",
        "%2e%2e",
    ],
)
def test_impossible_alias_is_refused(text: str) -> None:
    with refused("invalid-alias"):
        KeyAlias.parse(text)


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("kms://release", "kms", "release"),
        (f"kms://{UUID}", "kms", UUID),
        ("file:/run/key.gpg", "file", "/run/key.gpg"),
        ("file:key:with:colons", "file", "key:with:colons"),
        ("env:SIGNING_KEY", "env", "SIGNING_KEY"),
    ],
)
def test_location_names_scheme_and_place(text: str, scheme: str, name: str) -> None:
    location = KeyLocation.parse(text, allowed=SECRET_KEY_SCHEMES)
    assert (location.scheme, location.name, str(location)) == (scheme, name, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "release",
        "kms:release",
        "kms:/release",
        "kms://",
        "file:",
        "env:",
        "s3://bucket/key",
        "KMS://release",
        "file:a\nb",
        "file:a\0b",
        "secret:x.yaml",
    ],
)
def test_location_without_a_known_scheme_is_refused(text: str) -> None:
    with refused("invalid-key-location"):
        KeyLocation.parse(text, allowed=SECRET_KEY_SCHEMES)


@pytest.mark.parametrize("text", ["kms://a", "kms://../keys", "kms://a/b", "kms://x?y", "kms:///x"])
def test_kms_location_takes_an_alias_or_an_id_only(text: str) -> None:
    with refused("invalid-alias"):
        KeyLocation.parse(text, allowed=SECRET_KEY_SCHEMES)


def test_public_key_is_never_taken_from_the_environment() -> None:
    with refused("invalid-key-location"):
        KeyLocation.parse("env:KEY", allowed=PUBLIC_KEY_SCHEMES)


def test_secret_bytes_cannot_be_seen_by_accident() -> None:
    secret = SecretBytes(b"hunter2")
    shapes = (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]))
    for text in shapes:
        assert "hunter2" not in text
    for serialise in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            serialise(secret)
    assert not hasattr(secret, "__dict__")
    assert secret == SecretBytes(b"hunter2")
    assert secret != SecretBytes(b"hunter3")
    assert secret != b"hunter2"


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        (BINARY, BINARY),
        (ARMOURED, ARMOURED),
        (b"\n" + ARMOURED + b"\n\n", ARMOURED),
        (base64.b64encode(BINARY), BINARY),
        (base64.encodebytes(BINARY * 10), BINARY * 10),
        (base64.b64encode(ARMOURED), ARMOURED),
        (base64.b64encode(ARMOURED) + b"\n", ARMOURED),
    ],
)
def test_key_is_found_below_one_layer_of_base64(stored: bytes, key: bytes) -> None:
    assert unwrapped(stored) == key


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\n",
        b"not a key",
        b"<html>login</html>",
        base64.b64encode(b"not a key"),
        base64.b64encode(base64.b64encode(BINARY)),
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_what_is_no_openpgp_after_one_layer_is_no_key(stored: bytes) -> None:
    with refused("key-malformed"):
        unwrapped(stored)


def test_usable_key_has_no_flaw() -> None:
    assert key().flaws(NOW) == ()
    assert key(expires=None, algorithm="nistp256").flaws(NOW) == ()
    assert key(subkeys=(Subkey("rsa3072", can_sign=False),)).flaws(NOW) == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"is_revoked": True}, "key-revoked"),
        ({"expires": NOW}, "key-expired"),
        ({"expires": NOW - timedelta(seconds=1)}, "key-expired"),
        ({"can_sign": False}, "key-unusable"),
        ({"subkeys": (Subkey("rsa2048", can_sign=True),)}, "key-unusable"),
        ({"subkeys": (Subkey("cv25519", can_sign=False),)}, "key-unusable"),
        ({"algorithm": "ed25519"}, "key-unusable"),
        ({"algorithm": "brainpoolP256r1"}, "key-unusable"),
        ({"algorithm": "dsa2048"}, "key-unusable"),
        ({"algorithm": "algorithm-99"}, "key-unusable"),
        ({"algorithm": "rsa1024"}, "key-unusable"),
        ({"algorithm": "rsa1025"}, "key-unusable"),
    ],
)
def test_key_that_a_verifier_would_not_accept_has_a_flaw(
    changes: dict[str, object], code: str
) -> None:
    assert [flaw.code for flaw in key(**changes).flaws(NOW)] == [code]


def test_all_flaws_are_named() -> None:
    found = key(is_revoked=True, expires=NOW, can_sign=False).flaws(NOW)
    assert [flaw.code for flaw in found] == ["key-revoked", "key-expired", "key-unusable"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "imgsec\n%commit",
        "imgsec\rKey-Type: DSA",
        "1imgsec",
        "-imgsec",
        "imgsec <a@b",
        "imgsec image <a b@c>",
        "x" * 101,
        "imgsec \u0661\u0662",
        "imgsec%no-protection",
    ],
)
def test_user_id_that_gpg_could_read_as_a_command_is_refused(text: str) -> None:
    with refused("invalid-option"):
        KeyRequest(text)


def test_user_id_is_split_into_name_and_mail() -> None:
    request = KeyRequest("Release Signing <release@example.com>")
    assert (request.name, request.mail) == ("Release Signing", "release@example.com")
    assert KeyRequest("imgsec image signing").mail is None
