# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, VerifiedImage
from imgsec.operations.verify_digest import verify_digest
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    FakeKeyring,
    FakeRegistry,
    message,
    public_key,
)
from tests.unit.refusals import refused

NAME = "r.example/team/app:1"


def verify(registry: FakeRegistry, text: str = NAME, **key: Any) -> ImageReport:
    return verify_digest(
        ImageReference.parse(text), [public_key(**key)], registry, FakeKeyring(), now=NOW
    )


def signed(*signatures: str) -> tuple[FakeRegistry, ImageReference]:
    """An image with signatures: good, or what is wrong with each."""
    registry = FakeRegistry()
    image = registry.push(NAME)
    assert image.digest is not None
    forms = {
        "good": message(NAME, image.digest),
        "untrusted": message(NAME, image.digest, OTHER_SIGNER),
        "name": message("r.example/other:1", image.digest),
        "digest": message(NAME, Digest.of(b"x")),
        "payload": message(NAME, image.digest) + b"{}",
        "junk": b"junk",
    }
    registry.signatures[image.canonical_name] = [forms[word] for word in signatures]
    return registry, image


def codes(report: ImageReport) -> list[str]:
    return [reason.code for reason in report.verdict.reasons]


def test_good_signature_gives_repository_and_digest() -> None:
    registry, image = signed("good")
    report = verify(registry)
    assert report.verdict.passed
    assert isinstance(report.found, VerifiedImage)
    assert report.found.image.canonical_name == image.canonical_name


@pytest.mark.parametrize("bad", ["untrusted", "name", "digest", "payload", "junk"])
def test_one_good_signature_is_enough_wherever_it_lies(bad: str) -> None:
    for order in (("good", bad), (bad, "good")):
        assert verify(signed(*order)[0]).verdict.passed


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("untrusted", "signature-untrusted"),
        ("name", "identity-mismatch"),
        ("digest", "digest-mismatch"),
        ("payload", "payload-malformed"),
        ("junk", "signature-invalid"),
    ],
)
def test_bad_signature_refuses_with_its_reason_once(bad: str, code: str) -> None:
    report = verify(signed(bad, bad)[0])
    assert codes(report) == [code]
    assert report.verdict.outcome.word == "refused"


def test_no_signature_is_signature_missing() -> None:
    assert codes(verify(signed()[0])) == ["signature-missing"]


@pytest.mark.parametrize(
    ("flaw", "code"),
    [
        ({"is_revoked": True}, "key-revoked"),
        ({"expires": NOW}, "key-expired"),
        ({"algorithm": "rsa1024"}, "key-unusable"),
    ],
)
def test_key_that_no_longer_proves_anything_refuses(flaw: dict[str, Any], code: str) -> None:
    assert codes(verify(signed("good")[0], **flaw)) == [code]


def test_key_that_only_portieris_cannot_read_verifies() -> None:
    assert verify(signed("good")[0], algorithm="ed25519").verdict.passed


def test_bare_name_is_not_taken_for_latest() -> None:
    with refused("tag-required"):
        verify(signed("good")[0], "r.example/team/app")


def test_registry_without_a_store_is_undecided() -> None:
    registry, _ = signed("good")
    registry.offers_signatures = False
    with refused("signature-store-missing"):
        verify(registry)


def test_one_of_several_keys_is_enough() -> None:
    registry, image = signed("untrusted")
    both = [public_key(), public_key(OTHER_SIGNER)]
    report = verify_digest(image, both, registry, FakeKeyring(), now=NOW)
    assert isinstance(report.found, VerifiedImage)
    assert report.found.signer == OTHER_SIGNER


def test_spent_key_beside_a_good_one_counts_no_more_and_is_said() -> None:
    registry, image = signed("untrusted")
    both = [public_key(), public_key(OTHER_SIGNER, is_revoked=True)]
    report = verify_digest(image, both, registry, FakeKeyring(), now=NOW)
    assert codes(report) == ["signature-untrusted", "key-revoked"]
