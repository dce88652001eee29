# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, SignedImage
from imgsec.domain.signature import SimpleSigningPayload
from imgsec.operations.sign_image import SigningPlan, sign_image
from tests.unit.operations.fakes import (
    CONFIG,
    INDEX,
    OTHER_SIGNER,
    SIGNER,
    FakeClock,
    FakeKeyring,
    FakeRegistry,
    message,
)
from tests.unit.refusals import refused

NAME = "r.example/team/app:1"


def sign(registry: FakeRegistry, text: str = NAME, **plan: Any) -> SignedImage:
    report = sign_image(
        ImageReference.parse(text),
        SIGNER,
        SigningPlan(**plan),
        registry=registry,
        keyring=FakeKeyring(),
        clock=FakeClock(),
    )
    assert isinstance(report, ImageReport)
    assert report.verdict.passed
    assert isinstance(report.found, SignedImage)
    return report.found


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def test_digest_is_signed_under_its_tagged_name(registry: FakeRegistry) -> None:
    image = registry.push(NAME)
    found = sign(registry)
    assert (found.image, found.is_new, found.digests) == (image, True, (image.digest,))
    assert registry.stored == [str(image)]


def test_what_is_signed_already_is_left_alone(registry: FakeRegistry) -> None:
    registry.push(NAME)
    sign(registry)
    assert sign(registry).is_new is False
    assert len(registry.stored) == 1


@pytest.mark.parametrize("kind", ["other signer", "other name", "other digest", "junk"])
def test_signature_that_does_not_count_is_no_signature(registry: FakeRegistry, kind: str) -> None:
    image = registry.push(NAME)
    assert image.digest is not None
    registry.signatures[image.canonical_name] = [
        {
            "other signer": message(NAME, image.digest, OTHER_SIGNER),
            "other name": message("r.example/team/app:2", image.digest),
            "other digest": message(NAME, Digest.of(b"x")),
            "junk": b"junk",
        }[kind]
    ]
    assert sign(registry).is_new is True


def index(*digests: Digest | None) -> bytes:
    return json.dumps(
        {"mediaType": INDEX, "manifests": [{"digest": str(digest)} for digest in digests]}
    ).encode()


def test_index_is_signed_with_all_that_it_lists(registry: FakeRegistry) -> None:
    children = [registry.push(f"r.example/team/app:{name}") for name in ("amd64", "arm64")]
    image = registry.push(NAME, index(*(child.digest for child in children)))
    found = sign(registry)
    assert found.digests == (image.digest, *(child.digest for child in children))
    assert len(registry.stored) == 3


def test_only_what_is_missing_is_signed_again(registry: FakeRegistry) -> None:
    child = registry.push("r.example/team/app:amd64")
    registry.push(NAME, index(child.digest))
    sign(registry)
    del registry.signatures[child.canonical_name]
    registry.stored.clear()
    assert sign(registry).is_new is True
    assert registry.stored == [str(ImageReference.parse(NAME).at(child.digest))]


def test_without_a_place_for_signatures_nothing_is_signed(registry: FakeRegistry) -> None:
    registry.offers_signatures = False
    registry.push(NAME)
    with refused("signature-store-missing"):
        sign(registry)
    assert registry.stored == []


def test_tag_that_names_another_digest_signs_nothing(registry: FakeRegistry) -> None:
    first = registry.push(NAME)
    registry.push(NAME, b'{"config": {"mediaType": "application/x"}, "second": 1}')
    with refused("digest-drift"):
        sign(registry, str(first))
    assert registry.stored == []


def test_tag_that_moves_meanwhile_is_refused_afterwards(registry: FakeRegistry) -> None:
    registry.push(NAME)
    registry.on_store = lambda: (  # type: ignore[assignment]
        registry.push(NAME, b'{"config": {"mediaType": "application/x"}, "moved": 1}') and None
    )
    with refused("digest-drift"):
        sign(registry)


def test_signature_that_does_not_read_back_is_no_pass(registry: FakeRegistry) -> None:
    registry.push(NAME)
    registry.forgets = True
    with refused("pushed-unsigned"):
        sign(registry)


def test_image_without_a_tag_has_no_name_to_sign(registry: FakeRegistry) -> None:
    image = registry.push(NAME)
    with refused("tag-required"):
        sign(registry, image.canonical_name)
    assert registry.stored == []


def test_malformed_manifest_signs_nothing(registry: FakeRegistry) -> None:
    registry.push(NAME, b'{"config": {"mediaType": "%s"}}' % CONFIG.encode())
    with refused("answer-malformed"):
        sign(registry)
    assert registry.stored == []


def test_signature_that_shows_a_moment_later_is_read_back(registry: FakeRegistry) -> None:
    """Another run may write the same manifest just then, and hide it for a moment."""
    image = registry.push("r.example.com/late/app:1")
    hidden = 2

    def fetch(target: ImageReference) -> tuple[bytes, ...]:
        nonlocal hidden
        found = FakeRegistry.fetch_signatures(registry, target)
        if found and hidden:
            hidden -= 1
            return ()
        return found

    registry.fetch_signatures = fetch  # type: ignore[method-assign]
    clock = FakeClock()
    report = sign_image(
        ImageReference.parse("r.example.com/late/app:1"),
        SIGNER,
        registry=registry,
        keyring=FakeKeyring(),
        clock=clock,
    )
    assert report.verdict.passed
    assert len(registry.stored) == 1
    assert len(clock.slept) == 2
    assert report.found is not None
    assert report.found.image == image


# --- Names and platforms --------------------------------------------------------------------------


def names(*texts: str) -> tuple[ImageReference, ...]:
    return tuple(map(ImageReference.parse, texts))


def test_every_name_is_signed_and_only_what_is_missing_of_them(registry: FakeRegistry) -> None:
    image = registry.push(NAME)
    further = names("r.example/team/app:stable", "public.example/app:1")
    found = sign(registry, further=further)
    assert found.names == (NAME, "r.example/team/app:stable", "public.example/app:1")
    held = registry.signatures[image.canonical_name]
    said = [SimpleSigningPayload.parse(one.partition(b":")[2]) for one in held]
    assert [one.identity for one in said] == list(found.names)
    assert {one.digest for one in said} == {image.digest}
    assert sign(registry, further=further).is_new is False
    del held[1]
    assert sign(registry, further=further).is_new is True
    assert len(held) == 3


def test_digest_is_signed_under_the_names_that_are_given(registry: FakeRegistry) -> None:
    image = registry.push(NAME)
    found = sign(registry, image.canonical_name, further=names("r.example/team/app:stable"))
    assert found.names == ("r.example/team/app:stable",)


def test_name_at_icr_is_signed_with_both_hosts(registry: FakeRegistry) -> None:
    registry.push("private.us.icr.io/team/app:1")
    found = sign(
        registry,
        "private.us.icr.io/team/app:1",
        has_both_hosts=True,
        further=names("icr.io/team/app:1"),
    )
    assert found.names == (
        "private.us.icr.io/team/app:1",
        "icr.io/team/app:1",
        "us.icr.io/team/app:1",
        "private.icr.io/team/app:1",
    )
    with refused("invalid-option"):
        sign(registry, has_both_hosts=True)


def test_platforms_narrow_what_is_signed_of_an_index(registry: FakeRegistry) -> None:
    children = [
        registry.push(
            f"r.example/team/app:{name}", b'{"config": {"mediaType": "%s"}}' % name.encode()
        )
        for name in ("amd64", "arm64", "s390x")
    ]
    platforms = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "s390x"},
    ]
    listed = [
        {"digest": str(child.digest), "platform": platform}
        for child, platform in zip(children, platforms, strict=True)
    ]
    image = registry.push(NAME, json.dumps({"mediaType": INDEX, "manifests": listed}).encode())
    found = sign(registry, platforms=("linux/amd64", "linux/arm64"))
    assert found.digests == (image.digest, children[0].digest, children[1].digest)
    with refused("platform-missing") as reasons:
        sign(registry, platforms=("linux/amd64", "linux/ppc64le"))
    assert "linux/arm64/v8" in reasons[0].text


def test_platform_of_a_single_image_is_looked_at(registry: FakeRegistry) -> None:
    config = b'{"os": "linux", "architecture": "amd64"}'
    registry.blobs[str(Digest.of(config))] = config
    manifest = {"config": {"mediaType": CONFIG, "digest": str(Digest.of(config))}}
    registry.push(NAME, json.dumps(manifest).encode())
    assert sign(registry, platforms=("linux/amd64",)).is_new is True
    with refused("platform-missing"):
        sign(registry, platforms=("linux/arm64",))


def test_signature_too_many_is_not_stored(registry: FakeRegistry) -> None:
    """One more, and no verifier would read any of them."""
    image = registry.push(NAME)
    assert image.digest is not None
    held = [message(f"r.example/team/app:v{n}", image.digest) for n in range(127)]
    registry.signatures[image.canonical_name] = held
    with refused("too-many-signatures"):
        sign(registry, further=names("r.example/team/app:more"))
    assert registry.stored == []
    sign(registry)
    assert len(registry.signatures[image.canonical_name]) == 128
    assert sign(registry).is_new is False
