# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyLocation, PublicKey, SecretBytes
from imgsec.errors import KeyNotFound
from imgsec.operations.signing_key import KeyShelf, load_signing_key
from imgsec.operations.trusted_keys import load_trusted_keys
from tests.unit.operations.fakes import NOW, OTHER_SIGNER, SIGNER, FakeKeyring, FakeKms
from tests.unit.refusals import refused

SECRET = b"\x95secret " + str(SIGNER).encode()
PUBLIC = b"\x99public " + str(SIGNER).encode()
OTHER = b"\x99public " + str(OTHER_SIGNER).encode()
KMS = KeyLocation("kms", "release")
FILE = KeyLocation("file", "/key")


@dataclass
class FakeFiles:
    """One file."""

    content: bytes

    def read_secret_key(self, _: KeyLocation) -> SecretBytes:
        return SecretBytes(self.content)

    def read_public_key(self, _: KeyLocation) -> bytes:
        return self.content


def shelf(kms: dict[str, bytes] | None = None, file: bytes = b"") -> KeyShelf:
    return KeyShelf(FakeFiles(file), FakeKms(kms) if kms is not None else None)


def sign(
    where: KeyLocation, shelf: KeyShelf, expected: Fingerprint | None = None, **flawed: Any
) -> tuple[PublicKey, list[str]]:
    keyring = FakeKeyring(flawed=flawed)
    key, notes = load_signing_key(where, shelf, keyring, expected=expected, now=NOW)
    return key, [note.code for note in notes]


def verify(where: KeyLocation, shelf: KeyShelf, expected: Fingerprint | None = None) -> Fingerprint:
    return load_trusted_keys(where, shelf, FakeKeyring(), expected=expected).signers[0]


def test_key_is_held_against_the_fingerprint_that_was_given() -> None:
    both = {"release": SECRET, "release-public": OTHER}
    assert sign(KMS, shelf(both), SIGNER) == (sign(KMS, shelf(both), SIGNER)[0], [])
    for where, found in ((KMS, shelf(both)), (FILE, shelf(file=SECRET))):
        with refused("key-fingerprint-mismatch"):
            sign(where, found, OTHER_SIGNER)


def test_without_one_it_is_held_against_the_stored_public_half_and_that_is_noted() -> None:
    _, notes = sign(KMS, shelf({"release": SECRET, "release-public": PUBLIC}))
    assert notes == ["held-against-stored-public-half"]
    with refused("key-fingerprint-mismatch"):
        sign(KMS, shelf({"release": SECRET, "release-public": OTHER}))
    with pytest.raises(KeyNotFound):
        sign(KMS, shelf({"release": SECRET}))


def test_key_from_elsewhere_that_is_held_against_nothing_is_noted() -> None:
    _, notes = sign(FILE, shelf(file=SECRET))
    assert notes == ["fingerprint-not-pinned"]


@pytest.mark.parametrize("stored", [SECRET, base64.b64encode(SECRET)])
def test_payload_may_be_wrapped_once_more(stored: bytes) -> None:
    assert sign(KMS, shelf({"release": stored}), SIGNER)[0].fingerprint == SIGNER


@pytest.mark.parametrize("stored", [b"", b"<html>", PUBLIC, base64.b64encode(b"junk")])
def test_payload_that_is_no_secret_key_is_malformed(stored: bytes) -> None:
    with refused("key-malformed"):
        sign(KMS, shelf({"release": stored}), SIGNER)


@pytest.mark.parametrize(
    ("scheme", "word"),
    [("file", "file"), ("env", "variable"), ("secret", "Secret")],
)
def test_malformed_key_is_told_by_where_it_is_kept(scheme: str, word: str) -> None:
    location = KeyLocation(scheme, "somewhere")
    with refused("key-malformed") as reasons:
        sign(location, shelf(file=b"<html>"))
    assert str(location) in reasons[0].text
    assert word in reasons[0].hint
    assert "imgsec setup" not in reasons[0].hint


@pytest.mark.parametrize(
    ("flaw", "code"),
    [
        ({"expires": NOW}, "key-expired"),
        ({"is_revoked": True}, "key-revoked"),
        ({"can_sign": False}, "key-unusable"),
        ({"algorithm": "ed25519"}, "key-unusable"),
    ],
)
def test_key_that_may_not_sign_is_refused(flaw: dict[str, Any], code: str) -> None:
    with refused(code):
        sign(FILE, shelf(file=SECRET), SIGNER, **flaw)


def test_verifying_takes_the_public_half_by_either_name_and_nothing_else() -> None:
    for name in ("release", "release-public"):
        kms = FakeKms({"release": SECRET, "release-public": PUBLIC})
        found = verify(KeyLocation("kms", name), KeyShelf(FakeFiles(b""), kms))
        assert found == SIGNER
        assert [asked for asked in kms.asked if asked[0] == "fetch"] == [
            ("fetch", "release-public")
        ]


def test_alias_of_the_secret_key_itself_never_passes_for_its_public_half() -> None:
    kms = FakeKms({"release": SECRET}, further_aliases={"release": ("acme-public",)})
    with refused("key-not-found"):
        verify(KMS, KeyShelf(FakeFiles(b""), kms))
    assert "fetch" not in [operation for operation, name in kms.asked if name != "release-public"]


def test_verifying_refuses_what_is_no_public_key() -> None:
    with refused("key-malformed"):
        verify(FILE, shelf(file=SECRET))
    with refused("key-malformed"):
        verify(KMS, shelf({"release": SECRET, "release-public": SECRET}))
    with refused("key-fingerprint-mismatch"):
        verify(FILE, shelf(file=PUBLIC), OTHER_SIGNER)


def test_kms_location_needs_a_kms() -> None:
    with refused("key-not-found"):
        verify(KMS, shelf())


def test_key_without_a_public_half_beside_it_is_not_found() -> None:
    with pytest.raises(KeyNotFound):
        verify(KMS, shelf({"release": SECRET}))


def test_stored_key_is_described_without_personal_data() -> None:
    from imgsec.operations.signing_key import describe

    assert describe("secret half", SIGNER) == f"imgsec secret half, OpenPGP fingerprint {SIGNER}"
