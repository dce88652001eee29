# SPDX-License-Identifier: Apache-2.0
"""Copying between registries that differ, with what copies replaced by a dictionary."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, PushedImage, SignedImage
from imgsec.errors import ImgsecError
from imgsec.operations.publish_image import Publication
from imgsec.operations.sign_image import SigningPlan
from imgsec.ports import LocalImage, Manifest
from imgsec.reasons import (
    PERMISSION_DENIED,
    SERVICE_UNREACHABLE,
    SIGNATURE_STORE_MISSING,
    TIMEOUT,
)
from tests.unit.operations.fakes import (
    CONFIG,
    INDEX,
    OCI,
    SIGNER,
    FakeClock,
    FakeKeyring,
    FakeRegistry,
)
from tests.unit.refusals import refused

SOURCE = "plain.example/team/app:1"
TARGET = ImageReference.parse("r.example/team/app:release")


CONFIG_BLOB = {"mediaType": CONFIG, "digest": f"sha256:{'1a' * 32}"}
LATE = TIMEOUT("time is up")


class OutOfTime(BaseException):
    """As the deadline comes: no error, and nobody catches it on its way."""


@dataclass
class World(FakeRegistry):
    """Registries, of which ``plain.example`` keeps no signatures; and what copies between them."""

    mounted: list[str] = field(default_factory=list)
    may_mount: bool = True
    copied: list[str] = field(default_factory=list)
    time_is_up_after: int = 0  # how many copies
    answers_wrongly: bool = False  # with an error, after the work

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

    def require_copying(self) -> None:
        """It is installed."""

    def tag_manifest(self, image: ImageReference, manifest: Manifest) -> None:
        self.names[image.tagged_name] = manifest.content
        self.copied.append(image.tagged_name)
        if self.time_is_up_after == len(self.copied):
            raise OutOfTime
        if self.answers_wrongly:
            raise ImgsecError(SERVICE_UNREACHABLE("500"))

    def copy(self, source: ImageReference, target: ImageReference) -> None:
        content = self.names[source.canonical_name]
        name = target.canonical_name
        self.names[name] = content
        self.copied.append(name)
        kind = self.fetch_manifest(source).media_type
        for child in ManifestContent.parse(content, kind).children:
            self.names[target.at(child.digest).canonical_name] = self.names[
                source.at(child.digest).canonical_name
            ]
        if self.time_is_up_after == len(self.copied):
            raise OutOfTime

    def inspect(self, name: str) -> LocalImage:
        return LocalImage(name, is_list=False, platforms=("linux/amd64",))

    def push_local(self, image: LocalImage, target: ImageReference) -> Digest:
        found = self.push(target.tagged_name, json.dumps({"config": CONFIG_BLOB}).encode())
        self.copied.append(image.name)
        if self.time_is_up_after == len(self.copied):
            raise OutOfTime
        if self.answers_wrongly:
            raise ImgsecError(SERVICE_UNREACHABLE("500"))
        assert found.digest is not None
        return found.digest


def publication(
    world: World, plan: SigningPlan | None = None, keyring: FakeKeyring | None = None
) -> Publication:
    return Publication(
        TARGET,
        SIGNER,
        plan or SigningPlan(),
        registry=world,
        keyring=keyring or FakeKeyring(),
        clock=FakeClock(),
        say=lambda _: None,
    )


def bring(
    world: World, source: str = SOURCE, *, keeps: bool = True, plan: SigningPlan | None = None
) -> ImageReport:
    return publication(world, plan).copy(
        ImageReference.parse(source), world, keeps_signatures=keeps
    )


def index(world: World, name: str, *children: str, kind: str = OCI) -> ImageReference:
    """Push an index of these children, each for a platform of its own."""
    listed = [
        {
            "mediaType": kind,
            "digest": str(world.push(f"{name}-{number}", content.encode()).digest),
            "platform": {"os": "linux", "architecture": f"a{number}"},
        }
        for number, content in enumerate(children)
    ]
    return world.push(name, json.dumps({"mediaType": INDEX, "manifests": listed}).encode())


@pytest.mark.parametrize("keeps", [True, False])
def test_registry_that_keeps_no_signatures_has_none_to_bring(keeps: bool) -> None:
    world = World()
    image = world.push(SOURCE)
    report = bring(world, keeps=keeps)
    assert [note.code for note in report.verdict.notes] == ["signatures-left-behind"] * keeps
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
    theirs = foreign(b"theirs")
    odd = [b"-----BEGIN PGP MESSAGE-----", b"junk", b"\xa3" + bytes(99), theirs + b"\xcb\x01x"]
    world.signatures[image.canonical_name] = [theirs, *odd]
    for _ in range(2):
        report = bring(world, "r.example/build/app:1")
        (note,) = report.verdict.notes
        assert note.text.startswith("4 of what")
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
    report = bring(world)
    (reason,) = report.verdict.reasons
    assert reason.code == "pushed-unsigned"
    assert "release does not name it" in reason.text
    assert report.asked == TARGET
    assert isinstance(report.found, PushedImage)
    assert report.found.image.canonical_name == world.copied[0]
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


def test_part_of_an_index_that_is_gone_at_the_target_is_copied_again() -> None:
    world = World()
    children = [json.dumps({"config": {"mediaType": "application/x"}, "n": n}) for n in (1, 2)]
    made = index(world, "r.example/build/app:1", *children)
    bring(world, "r.example/build/app:1")
    assert len(world.copied) == 2
    (child, *_) = ManifestContent.parse(world.names[made.canonical_name], INDEX).children
    there = TARGET.at(child.digest).canonical_name
    del world.names[there]
    report = bring(world, "r.example/build/app:1")
    assert there in world.names
    assert isinstance(report.found, SignedImage)
    assert report.found.is_pushed
    assert len(world.copied) == 3  # the tag was right
    report = bring(world, "r.example/build/app:1")
    assert isinstance(report.found, SignedImage)
    assert (report.found.is_pushed, report.found.is_new) == (False, False)


@pytest.mark.parametrize("plan", [SigningPlan(), SigningPlan(platforms=("linux/a1",))])
def test_index_of_an_index_is_not_copied(plan: SigningPlan) -> None:
    world = World()
    index(world, "r.example/build/app:1", '{"manifests": []}', kind=INDEX)
    with refused("answer-malformed", "platform-missing"):
        bring(world, "r.example/build/app:1", plan=plan)
    assert world.copied == []


@pytest.mark.parametrize(("count", "fits"), [(127, True), (128, False)])
def test_more_signatures_than_verifiers_read_are_not_brought(count: int, fits: bool) -> None:
    world = World()
    image = world.push("r.example/build/app:1")
    assert image.digest is not None
    many = [foreign(b"%d" % number) for number in range(count)]
    world.signatures[image.canonical_name] = many
    if fits:
        assert bring(world, "r.example/build/app:1").verdict.passed
        assert len(world.signatures[f"r.example/team/app@{image.digest}"]) == 128
        return
    with refused("too-many-signatures") as reasons:
        bring(world, "r.example/build/app:1")
    assert "--remove-signatures" in reasons[0].hint
    assert world.copied == []
    assert bring(world, "r.example/build/app:1", keeps=False).verdict.passed


def test_signatures_that_fill_a_store_are_not_brought() -> None:
    world = World()
    image = world.push("r.example/build/app:1")
    world.signatures[image.canonical_name] = [foreign(bytes([n]) * 2**18) for n in range(9)]
    with refused("too-many-signatures"):
        bring(world, "r.example/build/app:1")
    assert world.copied == []


def test_own_signature_comes_before_those_that_are_brought() -> None:
    world = World()
    image = world.push("r.example/build/app:1")
    world.signatures[image.canonical_name] = [foreign(b"theirs")]
    bring(world, "r.example/build/app:1")
    found = world.signatures[f"r.example/team/app@{image.digest}"]
    assert [one == foreign(b"theirs") for one in found] == [False, True]


def test_tag_that_was_set_in_spite_of_an_error_is_set() -> None:
    world = World(answers_wrongly=True)
    world.push(SOURCE)
    report = bring(world)
    assert isinstance(report.found, SignedImage)
    assert report.found.is_pushed


def test_push_that_failed_at_its_end_is_told_as_what_it_may_have_done() -> None:
    world = World(answers_wrongly=True)
    report = publication(world).push("localhost/app", Pusher(world))
    (reason,) = report.verdict.reasons
    assert reason.code == "pushed-unsigned"
    assert "may have been pushed" in reason.text
    assert report.found is None  # it may be somebody else's
    assert world.copied == ["localhost/app"]  # not again: the tag has moved
    report = publication(world).push("localhost/app", Pusher(world))
    assert [one.code for one in report.verdict.reasons] == ["service-unreachable"]
    assert len(world.copied) == 1 + 5


def test_push_that_reached_nothing_left_nothing() -> None:
    class Away(Pusher):
        def push(self, image: LocalImage, target: ImageReference) -> Digest:
            raise ImgsecError(PERMISSION_DENIED(f"{image.name} to {target}"))

    world = World()
    it = publication(world)
    report = it.push("localhost/app", Away(world))
    assert [one.code for one in report.verdict.reasons] == ["permission-denied"]
    assert it.told() == ""


def test_tag_that_is_moved_while_a_request_failed_is_left_alone() -> None:
    class Busy(World):
        def tag_manifest(self, image: ImageReference, manifest: Manifest) -> None:
            self.names[image.tagged_name] = b'{"config": {"mediaType": "application/z"}}'
            raise ImgsecError(SERVICE_UNREACHABLE(f"429 for {manifest.digest}"))

    world = Busy()
    world.push(SOURCE)
    with refused("digest-drift"):
        bring(world)
    assert b"application/z" in world.names[TARGET.tagged_name]


def test_tag_that_may_not_be_set_is_tried_once() -> None:
    class Closed(World):
        def tag_manifest(self, image: ImageReference, manifest: Manifest) -> None:
            self.mounted.append(f"{image} {manifest.digest}")
            raise ImgsecError(PERMISSION_DENIED("no"))

    world = Closed()
    world.push(SOURCE)
    with refused("permission-denied"):
        bring(world)
    assert len(world.mounted) == 1
    assert TARGET.tagged_name not in world.names


@pytest.mark.parametrize("platforms", [(), ("linux/a0",)])
def test_parts_that_are_not_signed_have_no_room_without_end(platforms: tuple[str, ...]) -> None:
    world = World()
    children = [json.dumps({"config": {"mediaType": "application/x"}, "n": n}) for n in (1, 2)]
    made = index(world, "r.example/build/app:1", *children)
    (_, other) = ManifestContent.parse(world.names[made.canonical_name], INDEX).children
    source, there = made.at(other.digest), TARGET.at(other.digest)
    world.signatures[source.canonical_name] = [foreign(b"%d" % n) for n in range(100)]
    world.signatures[there.canonical_name] = [foreign(b"x%d" % n) for n in range(100)]
    with refused("too-many-signatures"):
        bring(world, "r.example/build/app:1", plan=SigningPlan(platforms=platforms))
    assert world.copied == []


@pytest.mark.parametrize("name", ["r.example/build/app", "r.example/build/none"])
def test_name_without_a_tag_is_no_image(name: str) -> None:
    world = World()
    world.push("r.example/build/app:None")
    with refused("tag-required"):
        bring(world, name)


def test_index_of_nothing_is_not_brought() -> None:
    world = World()
    index(world, "r.example/build/app:1")
    with refused("nothing-checked"):
        bring(world, "r.example/build/app:1")
    assert world.copied == []


def test_key_that_does_not_sign_moves_nothing() -> None:
    class Broken(FakeKeyring):
        def sign_message(self, content: bytes, signer: Fingerprint) -> bytes:
            return content if signer else b""

    world = World()
    world.push(SOURCE)
    for way in (
        lambda it: it.copy(ImageReference.parse(SOURCE), world, keeps_signatures=True),
        lambda it: it.push("localhost/app", Pusher(world)),
    ):
        with refused("key-unusable"):
            way(publication(world, keyring=Broken()))
    assert world.copied == []


@dataclass
class Pusher:
    """Pushes from a local storage that has everything."""

    world: World

    def require_pushing(self) -> None:
        """It is installed."""

    def inspect(self, name: str) -> LocalImage:
        return self.world.inspect(name)

    def push(self, image: LocalImage, target: ImageReference) -> Digest:
        return self.world.push_local(image, target)


def test_platform_that_local_storage_lacks_is_not_pushed() -> None:
    world = World()
    with refused("platform-missing"):
        publication(world, SigningPlan(platforms=("linux/s390x",))).push(
            "localhost/app", Pusher(world)
        )
    assert world.copied == []


def test_time_that_is_up_does_not_hide_what_was_pushed() -> None:
    world = World(time_is_up_after=1)
    it = publication(world)
    with pytest.raises(OutOfTime):
        it.push("localhost/app", Pusher(world))
    (reason,) = it.unsigned(LATE).verdict.reasons
    assert reason.code == "pushed-unsigned"
    assert "may have been pushed" in reason.text

    world = World()
    it = publication(world)
    world.on_store = out_of_time
    with pytest.raises(OutOfTime):
        it.push("localhost/app", Pusher(world))
    report = it.unsigned(LATE)
    assert isinstance(report.found, PushedImage)
    assert report.verdict.reasons[0].code == "pushed-unsigned"
    assert "Then run the command again" in report.verdict.reasons[0].hint


def test_time_that_is_up_before_or_after_is_no_more_than_that() -> None:
    world = World(time_is_up_after=1)
    world.push(SOURCE)
    assert publication(world).unsigned(LATE).verdict.reasons == (LATE,)
    for copies in (1, 2):  # the image, by its digest; and, when it is signed, its tag
        world.time_is_up_after = copies
        world.copied.clear()
        it = publication(world)
        with pytest.raises(OutOfTime):
            it.copy(ImageReference.parse(SOURCE), world, keeps_signatures=False)
        assert it.unsigned(LATE).verdict.reasons == (LATE,)
        assert it.unsigned(LATE).found is None
        del world.names[world.copied[0]]


def foreign(content: bytes) -> bytes:
    """The packets of a signed message: one-pass, literal, signature."""
    length = b"\xff" + len(content).to_bytes(4, "big")
    return b"\xc4\x01\x03" + b"\xcb" + length + content + b"\xc2\x01\x03"


def out_of_time() -> None:
    raise OutOfTime
