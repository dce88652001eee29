# SPDX-License-Identifier: Apache-2.0
"""A KMS, clusters, nodes that learn late and a registry: all of them fakes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyLocation, KeyRequest
from imgsec.domain.kubernetes import key_reference_of
from imgsec.domain.policy import KeySecret, Namespace, ObjectName
from imgsec.domain.reference import ImageReference
from imgsec.domain.rotation import Stage, When
from imgsec.domain.verdict import Verdict
from imgsec.domain.verifiers import Verifier, judge_key
from imgsec.errors import ImgsecError
from imgsec.operations.cancel_change import Cancellation, cancel_change
from imgsec.operations.published_keys import read_published
from imgsec.operations.renew_key import Renewal, Renewed, renew_key
from imgsec.operations.revoke_key import Revocation, Revoked, revoke_key
from imgsec.operations.rotate_key import Rotated, RotationPlan, rotate_key, show_rotation
from imgsec.operations.setup_signing_keys import ClusterNames, Wanted, setup_signing_keys
from imgsec.operations.signing_key import KeyShelf, load_signing_key
from imgsec.operations.succession import Site
from imgsec.operations.trusted_keys import load_trusted_keys
from imgsec.operations.verify_digest import check_signatures
from imgsec.ports import ClusterReader
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeClock,
    FakeKeyring,
    FakeRegistry,
    FakeSink,
    FakeVault,
    message,
)

UNTIL = NOW + timedelta(days=1000)
ALIAS = KeyAlias("release")
SECRET = KeySecret(ObjectName("public"), Namespace("portieris"))
REFERENCE = KeySecret(ObjectName("portieris-keys"), Namespace("portieris"))
DAY = 24 * 3600
LEARNING_DAYS = 7  # until the last node has what was published


class Killed(BaseException):
    """The process is gone, as by SIGKILL."""


@dataclass
class Town:
    """A KMS, a cluster, nodes that learn late, and a registry with what should run."""

    clock: FakeClock = field(default_factory=FakeClock)
    sink: FakeSink = field(default_factory=FakeSink)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    images: list[ImageReference] = field(default_factory=list)
    copies: list[tuple[float, bytes]] = field(default_factory=list)  # published, and since when
    moments: int = 0
    dies_at: int | None = None
    is_watched: bool = False

    def __post_init__(self) -> None:
        self.kms = FakeVault(self.clock, step=self.step)
        self.sink.on_publish = self.sink.after_publish = self.step

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def keyring(self, next_key: Fingerprint = OTHER_SIGNER) -> FakeKeyring:
        return FakeKeyring(next_key, now=self.now)

    def set_up(self, days: int = 365, sink: FakeSink | None = None) -> None:
        setup_signing_keys(
            Wanted(ALIAS, KeyRequest("imgsec image signing", valid_days=days)),
            kms=self.kms,
            keyring=self.keyring(SIGNER),
            sink=sink or self.sink,
            names=ClusterNames(SECRET, REFERENCE, None),
            now=self.now,
        )
        self.copies.append((self.clock.at - LEARNING_DAYS * DAY, self.published))

    def site(self, *, patience: float = 600.0, **changes: Any) -> Site:
        site = Site(
            kms=self.kms,
            keyring=self.keyring(),
            place=self.sink,
            clock=self.clock,
            registry=lambda: self.registry,
            progress=lambda _: None,
            wait_seconds=patience,
        )
        return replace(site, **changes)

    def rotate(
        self,
        *,
        patience: float = 600.0,
        sink: FakeSink | None = None,
        replaced: Fingerprint = SIGNER,
        next_key: Fingerprint = OTHER_SIGNER,
        cluster: ClusterReader | None = None,
        **plan: Any,
    ) -> Rotated:
        """sink: another cluster than the one that is watched."""
        wanted = RotationPlan(
            ALIAS, replaced, REFERENCE, KeyRequest("imgsec image signing"), **plan
        )
        place = sink or self.sink
        site = self.site(
            patience=patience, place=place, cluster=cluster, keyring=self.keyring(next_key)
        )
        done = rotate_key(wanted, site)
        if self.published != self.copies[-1][1]:
            self.copies.append((self.clock.at, self.published))
        return done

    def cancel(self, *, sink: FakeSink | None = None, **wanted: Any) -> Rotated:
        return cancel_change(
            Cancellation(ALIAS, REFERENCE, **wanted), self.site(place=sink or self.sink)
        )

    def revoke(
        self, fingerprint: Fingerprint = SIGNER, name: str = "release", **wanted: Any
    ) -> Revoked:
        site = self.site(
            cluster=wanted.pop("cluster", None), place=wanted.pop("sink", None) or self.sink
        )
        return revoke_key(Revocation(name, fingerprint, **wanted), site)

    def renew(self, until: datetime, sink: FakeSink | None = None) -> Renewed:
        done = renew_key(Renewal(ALIAS, REFERENCE, until), self.site(place=sink or self.sink))
        if self.published != self.copies[-1][1]:
            self.copies.append((self.clock.at, self.published))
        return done

    @property
    def stage(self) -> Stage:
        return show_rotation(ALIAS, REFERENCE, self.site()).stage

    @property
    def published(self) -> bytes:
        return published_in(self.sink)

    @property
    def on_the_slowest_node(self) -> bytes:
        learned = [c for since, c in self.copies if since <= self.clock.at - LEARNING_DAYS * DAY]
        return learned[-1]

    # --- Those who use it ---------------------------------------------------------------------

    def signs_by_reference(self, sink: FakeSink | None = None) -> Fingerprint:
        """A pipeline that takes key id and fingerprint from the Secret."""
        said = key_reference_of((sink or self.sink).documents["Secret/portieris-keys"])
        where = KeyLocation("kms", said.kms_key_id)
        key, _ = load_signing_key(
            where,
            KeyShelf(NO_FILES, self.kms),
            self.keyring(),
            expected=Fingerprint(said.fingerprint),
            now=self.now,
        )
        return key.fingerprint

    def signs_by_alias(self) -> Fingerprint | None:
        """A pipeline that only knows the alias; None while it is told to wait."""
        try:
            key, _ = load_signing_key(
                KeyLocation("kms", str(ALIAS)),
                KeyShelf(NO_FILES, self.kms),
                self.keyring(),
                expected=None,
                now=self.now,
            )
        except ImgsecError as error:
            if error.reason.code != "key-moving":
                raise
            return None
        return key.fingerprint

    def release(self, number: int) -> ImageReference:
        """A new image, signed by whatever key signs now; from now on it should run."""
        image = self.registry.push(f"r.example/app:{number}")
        assert image.digest is not None
        signature = message(image.tagged_name, image.digest, self.signs_by_reference())
        self.registry.signatures[image.canonical_name] = [signature]
        self.images.append(image)
        return image

    def refusals(self) -> Iterator[str]:
        """Whatever should run, or should be able to sign, and is not accepted somewhere."""
        copies = {Verifier.PORTIERIS: self.published, Verifier.GPGME: self.on_the_slowest_node}
        accepted = {
            verifier: [
                signer
                for signer in (SIGNER, OTHER_SIGNER)
                if judge_key(verifier, signer, read_published(copy, FakeKeyring()), self.now).passed
            ]
            for verifier, copy in copies.items()
        }
        for verifier, signers in accepted.items():
            for image in self.images:
                signatures = self.registry.signatures[image.canonical_name]
                keyring = FakeKeyring()
                if not signers or isinstance(
                    check_signatures(image, signatures, keyring, *signers), Verdict
                ):
                    yield f"{verifier} refuses {image}"
            for signer in (self.signs_by_reference(), self.signs_by_alias()):
                if signer is not None and signer not in signers:
                    yield f"{signer} signs, and {verifier} does not accept it"
        yield from self._refused_by_alias()

    def _refused_by_alias(self) -> Iterator[str]:
        try:
            keys = load_trusted_keys(
                KeyLocation("kms", str(ALIAS)),
                KeyShelf(NO_FILES, self.kms),
                self.keyring(),
                expected=None,
            ).keys
        except ImgsecError as error:
            if error.reason.code != "key-moving":
                raise
            return
        for image in self.images:
            signatures = self.registry.signatures[image.canonical_name]
            signers = [key.fingerprint for key in keys]
            if isinstance(check_signatures(image, signatures, FakeKeyring(), *signers), Verdict):
                yield f"verifying {image} by the alias is refused"

    def step(self) -> None:
        if not self.is_watched:
            return
        self.moments += 1
        assert list(self.refusals()) == []
        if self.moments == self.dies_at:
            raise Killed


def published_in(sink: FakeSink) -> bytes:
    return base64.b64decode(sink.documents["Secret/public"]["data"]["key"])


def keys_in(sink: FakeSink) -> list[Fingerprint]:
    """Whose public halves a cluster has."""
    return [key.fingerprint for key in read_published(published_in(sink), FakeKeyring()).every]


class _NoFiles:
    def read_secret_key(self, _: KeyLocation) -> Any:
        raise AssertionError("no file is read")

    def read_public_key(self, _: KeyLocation) -> Any:
        raise AssertionError("no file is read")


NO_FILES = _NoFiles()
NOW_AT_ONCE = When(None)


def all_at_once(town: Town) -> Rotated:
    images = tuple(town.images)
    return town.rotate(switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, images=images)


def alone() -> Town:
    """One key, published by itself, and what it signed."""
    town = Town()
    town.set_up()
    for number in range(3):
        town.release(number)
    return town


def prepared() -> Town:
    """Both keys have been published for long, and three images run."""
    town = Town()
    town.set_up()
    for number in range(3):
        town.release(number)
    town.clock.at = DAY
    town.rotate()
    town.clock.at = 30 * DAY
    return town


def ended(days: int = 20) -> Town:
    """A key whose end date is past, and images that it signed."""
    town = Town()
    town.set_up(days=days)
    for number in range(3):
        town.release(number)
    town.clock.at = (days - 10) * DAY
    return town


def moments() -> int:
    """How many moments a whole rotation has, two for each change."""
    town = prepared()
    town.is_watched = True
    all_at_once(town)
    return town.moments


def assert_finished(town: Town) -> None:
    signing = {f"retired-{SIGNER}{part}" for part in ("", "-public", "-revocation")}
    assert set(town.kms.names) == signing | {"release", "release-public", "release-revocation"}
    assert town.signs_by_alias() == town.signs_by_reference() == OTHER_SIGNER
    keys = read_published(town.published, FakeKeyring())
    assert [key.fingerprint for key in keys.every] == [OTHER_SIGNER]
    assert len(town.kms.keys) == 6
