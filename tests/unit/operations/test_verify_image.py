# SPDX-License-Identifier: Apache-2.0
"""What each consumer of an image says, which is not the same thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from imgsec.domain.identity import IdentityKind, IdentityRule
from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, UncheckedImage, VerifiedImage
from imgsec.domain.signature import MessageForm, OpenPGPMessage
from imgsec.domain.trust_policy import Blanket
from imgsec.domain.verifiers import READERS, PublishedKeys, Verifier
from imgsec.operations.trusted_keys import LoadedRequirement, TrustedKeys
from imgsec.operations.verify_image import verify_image
from imgsec.reasons import Reason
from tests.unit.operations.fakes import (
    INDEX,
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeKeyring,
    FakeRegistry,
    message,
    public_key,
)
from tests.unit.refusals import refused

NAME = "r.example/team/app:1"
ALL = (Verifier.STRICT, *READERS)


def trusted(
    *keys: PublicKey, rule: IdentityRule | None = None, keyring: FakeKeyring | None = None
) -> TrustedKeys:
    keys = keys or (public_key(),)
    published = PublishedKeys(1, keys, keys)
    return TrustedKeys(keys, published, keyring or FakeKeyring(), rule or IdentityRule())


def verify(
    registry: FakeRegistry,
    *requirements: LoadedRequirement,
    name: str = NAME,
    keyring: FakeKeyring | None = None,
    **options: Any,
) -> ImageReport:
    image = ImageReference.parse(name)
    wanted = requirements or (trusted(keyring=keyring),)
    return verify_image(image, wanted, registry, now=NOW, **options)


def answers(report: ImageReport) -> dict[str, str]:
    return {
        one.verifier: " ".join(reason.code for reason in one.verdict.reasons) or "pass"
        for one in report.answers
    }


def signed(*signatures: bytes) -> FakeRegistry:
    registry = FakeRegistry()
    image = registry.push(NAME)
    registry.signatures[image.canonical_name] = list(signatures) or [good(image)]
    return registry


def good(image: ImageReference, name: str = NAME, signer: Fingerprint = SIGNER) -> bytes:
    assert image.digest is not None
    return message(name, image.digest, signer)


def test_all_consumers_agree_on_a_good_signature() -> None:
    report = verify(signed())
    assert report.verdict.passed
    assert isinstance(report.found, VerifiedImage)
    assert answers(report) == dict.fromkeys(("strict", "portieris", "podman"), "pass")


# --- An index: who looks where --------------------------------------------------------------------


class Index:
    """One with two platforms and an attestation, and who has signed which part of it."""

    def __init__(self, *platforms: str) -> None:
        self.registry = FakeRegistry()
        self.parts = {}
        listed = []
        for platform in platforms:
            part = self.registry.push(f"r.example/team/app:{platform.replace('/', '-')}")
            self.parts[platform] = part
            system, _, architecture = platform.partition("/")
            listed.append(
                {
                    "digest": str(part.digest),
                    "platform": {"os": system, "architecture": architecture},
                }
            )
        content = json.dumps({"mediaType": INDEX, "manifests": listed}).encode()
        self.parts["index"] = self.registry.push(NAME, content)

    def sign(self, *parts: str) -> FakeRegistry:
        for part in parts:
            image = self.parts[part]
            self.registry.signatures[image.canonical_name] = [good(image)]
        return self.registry


BOTH = ("linux/amd64", "linux/arm64")


@pytest.mark.parametrize(
    ("parts", "portieris", "podman", "strict"),
    [
        (("index", *BOTH), "pass", "pass", "pass"),
        (("index",), "pass", "signature-missing signature-missing", None),
        (BOTH, "signature-missing", "pass", None),
        (("index", "linux/amd64"), "pass", "signature-missing", None),
        ((), "signature-missing", "signature-missing signature-missing", None),
    ],
)
def test_portieris_looks_at_the_index_and_podman_at_its_platform(
    parts: tuple[str, ...], portieris: str, podman: str, strict: str | None
) -> None:
    index = Index(*BOTH, "unknown/unknown")
    report = verify(index.sign(*parts))
    found = answers(report)
    assert (found["portieris"], found["podman"]) == (portieris, podman)
    if strict is None:
        strict = " ".join(one for one in (portieris, podman) if one != "pass")
    assert found["strict"] == strict
    assert report.verdict.passed is (strict == "pass")
    for reason in report.answers[2].verdict.reasons:
        assert reason.text.startswith("linux/")


def test_platform_that_is_pulled_can_be_named() -> None:
    registry = Index(*BOTH).sign("index", "linux/arm64")
    assert not verify(registry).verdict.passed
    assert verify(registry, platforms=("linux/arm64",)).verdict.passed
    with refused("platform-missing"):
        verify(registry, platforms=("linux/s390x",))


def test_index_that_lists_nothing_to_run_is_no_pass() -> None:
    for platforms in ((), ("unknown/unknown",)):
        with refused("nothing-checked"):
            verify(Index(*platforms).sign("index", *platforms))


def test_only_what_the_consumer_looks_at_is_asked_for() -> None:
    index = Index(*BOTH)
    index.sign("index", *BOTH)
    asked: list[Digest | None] = []
    fetch = index.registry.fetch_signatures

    def fetch_signatures(image: ImageReference) -> tuple[bytes, ...]:
        asked.append(image.digest)
        return fetch(image)

    index.registry.fetch_signatures = fetch_signatures  # type: ignore[method-assign]
    for verifier, count in ((Verifier.PORTIERIS, 1), (Verifier.GPGME, 2), (Verifier.STRICT, 3)):
        asked.clear()
        assert verify(index.registry, verifiers=(verifier,)).verdict.passed
        assert len(asked) == count


# --- The key, and the message ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flaw", "portieris", "podman", "strict"),
    [
        ({"is_revoked": True}, "key-revoked", "key-revoked", "key-revoked"),
        ({"expires": NOW - timedelta(days=1)}, "pass", "key-expired", "key-expired"),
        ({"algorithm": "ed25519"}, "key-unreadable", "pass", "key-unreadable"),
        ({"algorithm": "rsa1024"}, "pass", "pass", "key-unusable"),
    ],
)
def test_consumers_differ_about_keys(
    flaw: dict[str, Any], portieris: str, podman: str, strict: str
) -> None:
    report = verify(signed(), trusted(public_key(**flaw)))
    assert answers(report) == {"strict": strict, "portieris": portieris, "podman": podman}


def test_key_behind_the_first_block_is_none_to_portieris() -> None:
    first, second = public_key(OTHER_SIGNER), public_key()
    published = PublishedKeys(2, (first,), (first, second))
    wanted = TrustedKeys((first, second), published, FakeKeyring())
    found = answers(verify(signed(), wanted))
    assert (found["portieris"], found["podman"]) == ("key-unreadable", "pass")


class OddKeyring(FakeKeyring):
    """Finds something odd about every message."""

    oddity: dict[str, Any]

    def open_message(self, message: bytes, signers: Sequence[Fingerprint]) -> Any:
        found = super().open_message(message, signers)
        assert isinstance(found, OpenPGPMessage)
        return replace(found, **self.oddity)


@pytest.mark.parametrize(
    ("oddity", "portieris", "podman", "strict"),
    [
        ({"key_is_revoked": True}, "key-revoked", "key-revoked", "key-revoked"),
        ({"key_has_ended": True}, "pass", "key-expired", "key-expired"),
        ({"has_expired": True}, *["signature-expired"] * 3),
        ({"made_by": OTHER_SIGNER}, "pass", "signature-untrusted", "signature-untrusted"),
        ({"form": MessageForm.ARMOURED}, "signature-invalid", "pass", "signature-invalid"),
        ({"form": MessageForm.SIGNATURE_FIRST}, "signature-invalid", "pass", "signature-invalid"),
        ({"digest_algorithm": "SHA1"}, "pass", "pass", "signature-weak"),
        ({"digest_algorithm": "MD5"}, "pass", "pass", "signature-weak"),
        ({"digest_algorithm": "SHA384"}, "pass", "pass", "pass"),
        ({"is_binary": False}, "pass", "pass", "signature-invalid"),
    ],
)
def test_consumers_differ_about_messages(
    oddity: dict[str, Any], portieris: str, podman: str, strict: str
) -> None:
    keyring = OddKeyring()
    keyring.oddity = oddity
    report = verify(signed(), keyring=keyring)
    assert answers(report) == {"strict": strict, "portieris": portieris, "podman": podman}
    for verifier in READERS:
        alone = verify(signed(), keyring=keyring, verifiers=(verifier,))
        assert alone.verdict.passed == (answers(report)[verifier] == "pass")


def test_signatures_are_opened_until_every_consumer_has_one() -> None:
    image = signed().push(NAME)
    opened: list[bytes] = []

    class Counting(FakeKeyring):
        def open_message(self, message: bytes, signers: Sequence[Fingerprint]) -> Any:
            opened.append(message)
            return super().open_message(message, signers)

    bad, fine = good(image, "r.example/other:1"), good(image)
    assert verify(signed(bad, fine, bad, bad), keyring=Counting()).verdict.passed
    assert opened == [bad, fine]


def test_several_signatures_say_each_why_they_do_not_count() -> None:
    image = signed().push(NAME)
    many = (b"junk", good(image, signer=OTHER_SIGNER), good(image, "r.example/other:1"))
    codes = "signature-invalid signature-untrusted identity-mismatch"
    assert answers(verify(signed(*many)))["strict"] == codes


# --- A policy -------------------------------------------------------------------------------------


def test_every_requirement_must_be_met() -> None:
    image = signed().push(NAME)
    registry = signed(good(image), good(image, signer=OTHER_SIGNER))
    first, second = trusted(), trusted(public_key(OTHER_SIGNER))
    assert verify(registry, first, second).verdict.passed
    assert not verify(signed(good(image)), first, second).verdict.passed
    elsewhere = IdentityRule(IdentityKind.EXACT_REPOSITORY, "o.example/app")
    found = answers(verify(signed(good(image)), first, trusted(rule=elsewhere)))
    assert found == dict.fromkeys(("strict", "portieris", "podman"), "identity-mismatch")
    assert not verify(registry, first, Blanket.REJECT).verdict.passed
    assert verify(registry, first, Blanket.ACCEPT).verdict.passed


def test_accepting_anything_is_told_and_never_strict() -> None:
    registry = signed(b"junk")
    report = verify(registry, Blanket.ACCEPT)
    assert answers(report) == {"strict": "nothing-checked", "portieris": "pass", "podman": "pass"}
    as_podman = verify(registry, Blanket.ACCEPT, verifiers=(Verifier.GPGME,))
    assert isinstance(as_podman.found, UncheckedImage)
    assert [note.code for note in as_podman.verdict.notes] == ["unchecked"]


def test_rejecting_needs_no_look_at_signatures() -> None:
    registry = signed()
    registry.offers_signatures = False
    found = answers(verify(registry, Blanket.REJECT))
    assert set(found.values()) == {"policy-rejects"}


def test_unsigned_image_has_one_reason() -> None:
    registry = FakeRegistry()
    registry.push(NAME)
    report = verify(registry)
    assert [type(one) for one in report.verdict.reasons] == [Reason]
    assert set(answers(report).values()) == {"signature-missing"}


def test_name_without_version_is_a_question_without_sense() -> None:
    with refused("tag-required"):
        verify(signed(), name="r.example/team/app")
