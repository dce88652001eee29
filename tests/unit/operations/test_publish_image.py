# SPDX-License-Identifier: Apache-2.0
"""Copying between registries that differ, with what copies replaced by a dictionary."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, SignedImage
from imgsec.errors import ImgsecError
from imgsec.operations.publish_image import copy_and_sign
from imgsec.operations.sign_image import SigningPlan
from imgsec.reasons import PERMISSION_DENIED, SIGNATURE_STORE_MISSING
from tests.unit.operations.fakes import SIGNER, FakeClock, FakeKeyring, FakeRegistry, message
from tests.unit.refusals import refused

SOURCE = "plain.example/team/app:1"
TARGET = ImageReference.parse("r.example/team/app:release")


@dataclass
class World(FakeRegistry):
    """Registries, of which ``plain.example`` keeps no signatures; and what copies between them."""

    mounted: list[str] = field(default_factory=list)
    may_mount: bool = True
    copied: list[str] = field(default_factory=list)

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        if image.registry == "plain.example":
            raise ImgsecError(SIGNATURE_STORE_MISSING("it keeps none"))
        super().require_signature_store(image, writable=writable)

    def require_own_token_service(self, image: ImageReference) -> None:
        """It has none."""

    def mount_blob(self, source: ImageReference, target: ImageReference, blob: Digest) -> bool:
        if not self.may_mount:
            raise ImgsecError(PERMISSION_DENIED(f"{source} for {target}"))
        self.mounted.append(str(blob))
        return True

    def copy(self, source: ImageReference, target: ImageReference) -> None:
        content = self.names[source.canonical_name]
        name = target.canonical_name if target.is_canonical else target.tagged_name
        self.names[name] = content
        self.copied.append(name)


def bring(world: World, source: str = SOURCE, *, keeps: bool = True) -> ImageReport:
    return copy_and_sign(
        ImageReference.parse(source),
        TARGET,
        SIGNER,
        SigningPlan(),
        keeps_signatures=keeps,
        registry=world,
        copier=world,
        keyring=FakeKeyring(),
        clock=FakeClock(),
        say=lambda _: None,
    )


@pytest.mark.parametrize("keeps", [True, False])
def test_registry_that_keeps_no_signatures_has_none_to_bring(keeps: bool) -> None:
    world = World()
    image = world.push(SOURCE)
    report = bring(world, keeps=keeps)
    assert isinstance(report.found, SignedImage)
    assert report.found.is_pushed
    landed = f"r.example/team/app@{image.digest}"
    assert world.copied == [landed, TARGET.tagged_name]  # the tag comes last
    assert len(world.signatures[landed]) == 1
    assert world.mounted == []  # another registry


def test_signatures_come_along_once() -> None:
    world = World()
    image = world.push("r.example/build/app:1")
    assert image.digest is not None
    theirs = b"\x90" + message("r.example/build/app:1", image.digest)
    world.signatures[image.canonical_name] = [theirs, b"-----BEGIN PGP MESSAGE-----", b"junk"]
    for _ in range(2):
        bring(world, "r.example/build/app:1")
    found = world.signatures[f"r.example/team/app@{image.digest}"]
    assert len(found) == 2
    assert found.count(theirs) == 1


@pytest.mark.parametrize("may_mount", [True, False])
def test_blobs_are_linked_where_the_registry_does_that(may_mount: bool) -> None:
    world = World(may_mount=may_mount)
    parts = [{"mediaType": "application/x", "digest": f"sha256:{one * 32}"} for one in ("1a", "2b")]
    content = json.dumps({"config": parts[0], "layers": parts[1:]})
    world.push("r.example/build/app:1", content.encode())
    assert bring(world, "r.example/build/app:1").verdict.passed
    assert len(world.mounted) == (2 if may_mount else 0)


def test_tag_stays_where_it_was_when_signing_fails() -> None:
    world = World(forgets=True)
    world.push(SOURCE)
    with refused("pushed-unsigned") as reasons:
        bring(world)
    assert "no tag names it" in reasons[0].text
    assert TARGET.tagged_name not in world.names


def test_nothing_is_copied_where_the_target_keeps_no_signatures() -> None:
    world = World(offers_signatures=False)
    world.push(SOURCE)
    with refused("signature-store-missing"):
        bring(world)
    assert world.copied == []


@pytest.mark.parametrize("moved", ["target", "source"])
def test_push_of_somebody_else_meanwhile_is_not_reverted(moved: str) -> None:
    world = World()
    world.push(SOURCE)
    name = TARGET.tagged_name if moved == "target" else SOURCE
    world.on_store = lambda: world.names.update(
        {name: b'{"config": {"mediaType": "application/z"}}'}
    )
    with refused("digest-drift"):
        bring(world)
    assert (TARGET.tagged_name in world.names) is (moved == "target")
    if moved == "target":
        assert b"application/z" in world.names[TARGET.tagged_name]
