# SPDX-License-Identifier: Apache-2.0
"""A signing key is replaced while pipelines sign, clusters check and nodes learn late.

At every single change that a rotation makes, and on every day of a year of it, all that should run
is accepted by Portieris's rule and by GPGME's, and whoever signs has a key that is published.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyLocation, KeyRequest, SecretBytes
from imgsec.domain.kubernetes import key_reference_of
from imgsec.domain.policy import KeySecret, Namespace, ObjectName
from imgsec.domain.reference import ImageReference
from imgsec.domain.rotation import Stage, When
from imgsec.domain.verdict import Verdict
from imgsec.domain.verifiers import Verifier, judge_key
from imgsec.errors import ImgsecError
from imgsec.operations.published_keys import read_published
from imgsec.operations.renew_key import Renewal, Renewed, renew_key
from imgsec.operations.rotate_key import Rotated, RotationPlan, rotate_key, show_rotation
from imgsec.operations.setup_signing_keys import ClusterNames, Wanted, setup_signing_keys
from imgsec.operations.signing_key import KeyShelf, load_public_keys, load_signing_key
from imgsec.operations.succession import Site
from imgsec.operations.verify_image import check_signatures
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeClock,
    FakeKeyring,
    FakeRegistry,
    FakeSigner,
    FakeSink,
    FakeVault,
    message,
)
from tests.unit.refusals import refused

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

    def set_up(self, days: int = 365) -> None:
        setup_signing_keys(
            Wanted(ALIAS, KeyRequest("imgsec image signing", valid_days=days)),
            kms=self.kms,
            keyring=self.keyring(SIGNER),
            sink=self.sink,
            names=ClusterNames(SECRET, REFERENCE.name, None),
            now=self.now,
        )
        self.copies.append((self.clock.at - LEARNING_DAYS * DAY, self.published))

    def site(self, *, patience: float = 600.0, **changes: Any) -> Site:
        site = Site(
            kms=self.kms,
            keyring=self.keyring(),
            place=self.sink,
            clock=self.clock,
            signing=lambda: (self.registry, FakeSigner(self.registry)),
            progress=lambda _: None,
            wait_seconds=patience,
        )
        return replace(site, **changes)

    def rotate(self, *, patience: float = 600.0, **plan: Any) -> Rotated:
        wanted = RotationPlan(ALIAS, SIGNER, REFERENCE, KeyRequest("imgsec image signing"), **plan)
        done = rotate_key(wanted, self.site(patience=patience))
        if self.published != self.copies[-1][1]:
            self.copies.append((self.clock.at, self.published))
        return done

    def renew(self, until: datetime) -> Renewed:
        done = renew_key(Renewal(ALIAS, REFERENCE, until), self.site())
        if self.published != self.copies[-1][1]:
            self.copies.append((self.clock.at, self.published))
        return done

    @property
    def stage(self) -> Stage:
        return show_rotation(ALIAS, REFERENCE, self.site()).stage

    @property
    def published(self) -> bytes:
        return base64.b64decode(self.sink.documents["Secret/public"]["data"]["key"])

    @property
    def on_the_slowest_node(self) -> bytes:
        learned = [c for since, c in self.copies if since <= self.clock.at - LEARNING_DAYS * DAY]
        return learned[-1]

    # --- Those who use it ---------------------------------------------------------------------

    def signs_by_reference(self) -> Fingerprint:
        """A pipeline that takes key id and fingerprint from the Secret."""
        said = key_reference_of(self.sink.documents["Secret/portieris-keys"])
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
            keys = load_public_keys(
                KeyLocation("kms", str(ALIAS)),
                KeyShelf(NO_FILES, self.kms),
                self.keyring(),
                expected=None,
            )
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


def test_year_with_a_rotation_refuses_nothing_that_should_run() -> None:
    town = Town()
    town.set_up(days=120)
    switch, retire = (When(NOW + timedelta(days=days)) for days in (70, 100))
    stages = []
    for day in range(365):
        town.clock.at = day * DAY
        if day % 5 == 0:
            town.release(day)
        if day >= 60:  # a nightly job, from two months before the end on; and for good
            town.is_watched = 70 <= day <= 100
            done = town.rotate(images=tuple(town.images), switch=switch, retire=retire)
            assert done.verdict.passed, done
            stages.append(town.stage)
        assert list(town.refusals()) == [], day
    seen = list(dict.fromkeys(stages))
    assert seen == [Stage.PUBLISHED, Stage.SWITCHED, Stage.NONE]
    assert town.signs_by_alias() == town.signs_by_reference() == OTHER_SIGNER
    assert [stored.aliases for stored, _ in town.kms.keys.values()][:1] == [(f"retired-{SIGNER}",)]


def test_switch_before_every_node_knows_the_new_key_would_refuse() -> None:
    """The check can fail: without an overlap the slowest node refuses what is signed anew."""
    town = Town()
    town.set_up()
    town.clock.at = 60 * DAY
    town.rotate(switch=NOW_AT_ONCE)
    town.release(1)
    assert list(town.refusals())


def moments() -> int:
    """How many moments a whole rotation has, two for each change."""
    town = prepared()
    town.is_watched = True
    all_at_once(town)
    return town.moments


def prepared() -> Town:
    """Both keys have been published for long, and three images run."""
    town = Town()
    town.set_up()
    for number in range(3):
        town.release(number)
    town.rotate()
    town.clock.at = 30 * DAY
    return town


def test_rotation_that_is_killed_at_any_moment_is_finished_by_the_next_run() -> None:
    whole = moments()
    assert whole > 30
    for moment in range(1, whole + 1):
        town = prepared()
        town.is_watched, town.dies_at = True, moment
        with pytest.raises(Killed):
            all_at_once(town)
        town.clock.at += 1
        assert list(town.refusals()) == [], moment
        town.dies_at = None
        done = all_at_once(town)
        assert done.verdict.passed, (moment, done.verdict)
        assert done.rotation.stage is Stage.NONE
        assert_finished(town)


def assert_finished(town: Town) -> None:
    signing = {f"retired-{SIGNER}{part}" for part in ("", "-public", "-revocation")}
    assert set(town.kms.names) == signing | {"release", "release-public", "release-revocation"}
    assert town.signs_by_alias() == town.signs_by_reference() == OTHER_SIGNER
    keys = read_published(town.published, FakeKeyring())
    assert [key.fingerprint for key in keys.every] == [OTHER_SIGNER]
    assert len(town.kms.keys) == 6


@pytest.mark.parametrize("moment", range(1, 12))
def test_beginning_that_is_killed_makes_no_second_key(moment: int) -> None:
    town = Town()
    town.set_up()
    town.is_watched, town.dies_at = True, moment
    try:
        town.rotate()
    except Killed:
        assert list(town.refusals()) == []
    town.dies_at = None
    town.rotate()
    assert town.stage is Stage.PUBLISHED
    assert len(town.kms.keys) == 6


def test_finished_rotation_is_not_begun_again() -> None:
    town = prepared()
    all_at_once(town)
    held = dict(town.kms.keys)
    done = all_at_once(town)
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do"]
    assert town.kms.keys == held
    with refused("key-fingerprint-mismatch"):
        plan = RotationPlan(ALIAS, Fingerprint("EF" * 20), REFERENCE, KeyRequest("imgsec signing"))
        rotate_key(plan, town.site())


def test_alias_that_the_kms_does_not_free_in_time_is_undecided_and_finished_later() -> None:
    town = prepared()
    done = town.rotate(patience=30.0, switch=NOW_AT_ONCE)
    assert done.verdict.outcome.word == "undecided"
    assert [reason.code for reason in done.verdict.reasons] == ["key-moving"]
    assert town.stage is Stage.SWITCHING
    assert town.signs_by_alias() is None
    assert town.signs_by_reference() == OTHER_SIGNER
    town.clock.at += 300
    assert town.rotate().verdict.passed  # the switch is made; it needs no second word
    assert town.stage is Stage.SWITCHED


def test_image_that_neither_key_signed_is_not_signed_again() -> None:
    town = prepared()
    foreign = town.registry.push("r.example/foreign:1")
    done = town.rotate(images=(foreign,), switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
    assert [reason.code for reason in done.images[0].verdict.reasons] == ["signature-missing"]
    assert done.verdict.outcome.word == "refused"
    assert done.rotation.stage is Stage.SWITCHED, "what needs the old key keeps it"
    assert foreign.canonical_name not in town.registry.signatures


def test_old_key_is_not_retired_on_no_word_about_what_needs_it() -> None:
    town = prepared()
    with refused("invalid-option"):
        town.rotate(switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
    assert town.stage is Stage.PUBLISHED
    town.rotate(switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, accept_lockout=True)
    assert_finished(town)
    assert list(town.refusals()), "that is what was accepted"


def test_dates_that_are_to_come_are_said_and_waited_for() -> None:
    town = prepared()
    done = town.rotate(switch=When(town.now + timedelta(days=1)))
    assert [note.code for note in done.verdict.notes] == ["not-yet-due"]
    assert done.rotation.stage is Stage.PUBLISHED


def test_retired_key_signs_no_more() -> None:
    town = prepared()
    all_at_once(town)
    with refused("key-retired"):
        load_signing_key(
            KeyLocation("kms", "id-0"),
            KeyShelf(NO_FILES, town.kms),
            town.keyring(),
            expected=SIGNER,
            now=town.now,
        )


def test_set_up_keeps_away_from_a_key_that_is_being_replaced() -> None:
    town = prepared()
    with refused("key-conflict"):
        town.set_up()


def test_set_up_waits_for_a_name_that_the_kms_holds_back() -> None:
    town = Town()
    town.set_up()
    town.kms.remove_alias("id-1", "release-public")
    with refused("key-moving") as reasons:
        town.set_up()
    assert reasons[0].retryable
    town.clock.at += 300
    town.set_up()


@pytest.mark.parametrize("change", ["no-secret", "no-reference", "foreign-reference"])
def test_rotation_begins_only_where_the_key_is_published(change: str) -> None:
    town = Town()
    town.set_up()
    held = len(town.kms.keys)
    if change == "no-secret":
        del town.sink.documents["Secret/public"]
    elif change == "no-reference":
        del town.sink.documents["Secret/portieris-keys"]
    else:
        data = town.sink.documents["Secret/portieris-keys"]["data"]
        data["vault-key-id"] = base64.b64encode(b"another").decode()
    with refused("key-conflict" if change == "foreign-reference" else "key-unpublished"):
        town.rotate()
    assert len(town.kms.keys) == held


# --- Renewing -------------------------------------------------------------------------------------

UNTIL = NOW + timedelta(days=1000)


def ended(days: int = 20) -> Town:
    """A key whose end date is past, and images that it signed."""
    town = Town()
    town.set_up(days=days)
    for number in range(3):
        town.release(number)
    town.clock.at = (days - 10) * DAY
    return town


def test_renewed_key_is_accepted_again_where_it_had_ended() -> None:
    town = ended()
    town.clock.at = 30 * DAY
    keys = read_published(town.published, FakeKeyring())
    assert not judge_key(Verifier.GPGME, SIGNER, keys, town.now).passed
    done = town.renew(UNTIL)
    keys = read_published(town.published, FakeKeyring())
    assert judge_key(Verifier.GPGME, SIGNER, keys, town.now).passed
    assert done.key.expires == UNTIL
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert done.summary.key_id == town.kms.names["release"] == "id-3"
    town.clock.at += LEARNING_DAYS * DAY
    assert list(town.refusals()) == []
    again = town.renew(UNTIL)
    assert [note.code for note in again.notes] == ["nothing-to-do"]
    assert len(town.kms.keys) == 6


def test_renewal_that_is_killed_at_any_moment_is_finished_by_the_next_run() -> None:
    town = ended()
    town.is_watched = True
    town.renew(UNTIL)
    whole = town.moments
    assert whole > 30
    for moment in range(1, whole + 1):
        town = ended()
        town.is_watched, town.dies_at = True, moment
        with pytest.raises(Killed):
            town.renew(UNTIL)
        assert list(town.refusals()) == [], moment
        town.dies_at = None
        town.renew(UNTIL)
        assert set(town.kms.names) == {"release", "release-public", "release-revocation"}, moment
        assert len(town.kms.keys) == 6, moment
        assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
        assert read_published(town.published, FakeKeyring()).every[0].expires == UNTIL


@pytest.mark.parametrize("said", ["", f"imgsec secret half, OpenPGP fingerprint {SIGNER}"])
def test_key_that_somebody_else_put_there_is_not_published(said: str) -> None:
    town = Town()
    town.set_up()
    secret = SecretBytes(b"\x95secret " + str(OTHER_SIGNER).encode())
    town.kms.store_key("release-next", secret, name="theirs", description=said)
    before = town.published
    with refused("key-conflict"):
        town.rotate(switch=NOW_AT_ONCE)
    assert town.published == before


def test_renewing_and_rotating_do_not_mix() -> None:
    town = prepared()
    with refused("key-conflict"):
        town.renew(UNTIL)
    town = ended()
    town.is_watched, town.dies_at = True, 8
    with pytest.raises(Killed):
        town.renew(UNTIL)
    town.is_watched = False
    with refused("key-conflict"):
        town.rotate()
