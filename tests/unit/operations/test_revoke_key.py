# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyLocation, KeyRequest
from imgsec.domain.rotation import Stage
from imgsec.domain.verifiers import Verifier, judge_key
from imgsec.errors import ImgsecError
from imgsec.operations.inspect_keys import list_keys
from imgsec.operations.published_keys import read_published
from imgsec.operations.renew_key import Renewal, renew_key
from imgsec.operations.rotate_key import RotationPlan, rotate_key
from imgsec.operations.setup_signing_keys import Wanted, store_signing_key
from imgsec.operations.signing_key import (
    SIGNING_PART,
    KeyShelf,
    describe,
    load_keys_to_publish,
    load_signing_key,
)
from imgsec.operations.trusted_keys import load_trusted_keys
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    THIRD_SIGNER,
    FakeKeyring,
    FakeSink,
    message,
)
from tests.unit.operations.town import (
    ALIAS,
    DAY,
    NO_FILES,
    NOW_AT_ONCE,
    REFERENCE,
    UNTIL,
    Killed,
    Town,
    all_at_once,
    alone,
    ended,
    keys_in,
    prepared,
    published_in,
)
from tests.unit.refusals import refused


def accepted(town: Town, signer: Fingerprint) -> set[Verifier]:
    keys = read_published(town.published, FakeKeyring())
    return {one for one in Verifier if judge_key(one, signer, keys, town.now).passed}


def test_revoked_key_alone_is_published_as_revoked() -> None:
    town = alone()
    done = town.revoke()
    assert done.verdict.passed
    assert accepted(town, SIGNER) == set()
    assert [key.is_revoked for key in read_published(town.published, FakeKeyring()).every] == [True]
    assert [note.code for note in done.verdict.notes] == [
        "deleting-undoes-nothing",
        "nothing-looked-at",
    ]


def test_beside_another_key_the_revoked_one_is_published_no_more() -> None:
    town = prepared()
    town.revoke()
    keys = read_published(town.published, FakeKeyring())
    assert [key.fingerprint for key in keys.every] == [OTHER_SIGNER]
    assert accepted(town, OTHER_SIGNER) == set(Verifier)


def test_kms_says_from_then_on_that_the_key_is_revoked() -> None:
    town = alone()
    town.revoke()
    for name in ("release", "id-0"):
        with refused("key-revoked"):
            load_signing_key(
                KeyLocation("kms", name),
                KeyShelf(NO_FILES, town.kms),
                town.keyring(),
                expected=SIGNER,
                now=town.now,
            )
        shelf = KeyShelf(NO_FILES, town.kms)
        keys = load_trusted_keys(
            KeyLocation("kms", name), shelf, town.keyring(), expected=None
        ).keys
        (key,) = keys
        assert key.is_revoked
    (entry,) = list_keys(town.kms, town.keyring(), None, now=town.now)
    assert [reason.code for reason in entry.verdict.reasons] == ["key-revoked"]
    with refused("key-revoked"):
        town.set_up()


def test_second_run_changes_nothing() -> None:
    town = alone()
    town.revoke()
    before, published = dict(town.kms.keys), town.published
    assert town.revoke().verdict.passed
    assert (town.kms.keys, town.published) == (before, published)


def test_what_only_the_key_signed_is_said_and_stops_it() -> None:
    town = prepared()
    both, foreign = town.images[0], town.registry.push("r.example/foreign:1")
    assert both.digest is not None
    signature = message(both.tagged_name, both.digest, OTHER_SIGNER)
    town.registry.signatures[both.canonical_name].append(signature)
    before = town.published
    done = town.revoke(images=(*town.images, foreign))
    assert [part.verdict.outcome.word for part in done.images] == ["pass"] + ["refused"] * 3
    codes = [[reason.code for reason in part.verdict.reasons] for part in done.images]
    assert ["key-revoked" in found for found in codes] == [False, True, True, False]
    assert done.verdict.reasons[0].text.startswith("2 of 4 ")
    assert (town.published, done.changes) == (before, ())
    assert town.revoke(images=tuple(town.images), accept_lockout=True).verdict.passed
    assert town.published != before


@dataclass
class Running:
    """A cluster in which one image runs that the Secret's key must have signed."""

    image: str

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        demands = {"type": "signedBy", "keySecret": "public", "keySecretNamespace": "portieris"}
        rule = {"name": "r.example/*", "policy": {"simple": {"requirements": [demands]}}}
        document = {
            **{"apiVersion": "portieris.cloud.ibm.com/v1", "kind": kind},
            **{"metadata": {"name": "p"}, "spec": {"repositories": [rule]}},
        }
        return (document,) if kind == "ClusterImagePolicy" else ()

    def list_running_images(self) -> tuple[tuple[str, str], ...]:
        return (("apps", self.image), ("apps", "other.example/x:1"))

    def list_secret_editors(self, _: str) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("tool", ["revoke", "rotate"])
def test_what_runs_is_looked_at_where_a_cluster_is_at_hand(tool: str) -> None:
    town = prepared()
    cluster = Running(town.images[0].tagged_name)
    if tool == "revoke":
        done: Any = town.revoke(cluster=cluster)
    else:
        done = town.rotate(cluster=cluster, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
        assert accepted(town, SIGNER) == set(Verifier)
    assert [one.image for one in done.running] == [cluster.image]
    assert done.verdict.reasons[0].code == "running-images-refused"


def test_another_key_than_the_named_one_is_not_revoked() -> None:
    town = alone()
    with refused("key-fingerprint-mismatch"):
        town.revoke(OTHER_SIGNER)
    assert accepted(town, SIGNER) == set(Verifier)


def test_every_copy_of_the_key_is_marked() -> None:
    """What an earlier renewal left signs with the same key; so does one under another alias."""
    town = ended()
    town.renew(UNTIL)
    secret = town.kms.fetch_key("release")[1]
    town.kms.store_key("twin", secret, name="n", description=describe(SIGNING_PART, SIGNER))
    spare = KeyAlias.spare(SIGNER, "id-0")
    for name in ("id-0", str(spare), "twin"):
        assert signs(town, name) == SIGNER
    town.revoke()
    for name in ("release", "id-0", str(spare), "twin"):
        with refused("key-revoked"):
            signs(town, name)
    held = dict(town.kms.keys)
    town.revoke(name="id-0")
    assert town.kms.keys == held


def test_revoked_key_is_not_stored_again() -> None:
    town = alone()
    secret = town.kms.fetch_key("release")[1]
    town.revoke()
    wanted = Wanted(KeyAlias("again"), secret, expected=SIGNER)
    with refused("key-revoked"):
        store_signing_key(wanted, kms=town.kms, keyring=town.keyring(), now=town.now)


def test_place_that_does_not_publish_the_key_is_not_passed_over() -> None:
    town, other = alone(), FakeSink()
    other.documents = {"Secret/portieris-keys": town.sink.documents["Secret/portieris-keys"]}
    with refused("key-unpublished"):
        town.revoke(sink=other)
    assert signs(town, "release") == SIGNER
    assert town.revoke(sink=other, accept_lockout=True).verdict.passed


def test_retired_key_is_revoked_where_nothing_publishes_it() -> None:
    town = prepared()
    all_at_once(town)
    done = town.revoke(name=str(KeyAlias.retired(SIGNER)))
    assert done.verdict.passed
    with refused("key-revoked"):
        signs(town, "id-0")


def test_foreign_secret_with_the_key_is_told_and_left_alone() -> None:
    town = alone()
    foreign = copy.deepcopy(town.sink.documents["Secret/public"])
    foreign["metadata"] = {"name": "theirs", "namespace": "apps"}
    town.sink.documents["Secret/theirs"] = foreign
    done = town.revoke()
    assert [reason.code for reason in done.verdict.reasons] == ["foreign-object"]
    assert "apps/theirs" in done.verdict.reasons[0].text
    assert accepted(town, SIGNER) == set(), "what is ours is done all the same"
    assert town.sink.documents["Secret/theirs"] == foreign


def test_mark_that_the_kms_refuses_stops_nothing_else() -> None:
    town = alone()
    for number in range(4):
        town.kms.add_alias("id-0", f"own-{number}")
    done = town.revoke()
    assert [reason.code for reason in done.verdict.reasons] == ["request-refused"]
    assert accepted(town, SIGNER) == set()


@pytest.mark.parametrize("moment", range(1, 20))
def test_revocation_in_the_middle_of_a_renewal_is_no_dead_end(moment: int) -> None:
    town = ended()
    town.is_watched, town.dies_at = True, moment
    with pytest.raises(Killed):
        town.renew(UNTIL)
    town.is_watched = False
    name = "release" if "release" in town.kms.names else "release-old"
    town.revoke(name=name)
    for key_id in ("id-0", "id-3"):
        if key_id in town.kms.keys and "secret" in town.kms.keys[key_id][0].description:
            with refused("key-revoked"):
                signs(town, key_id)
    town.clock.at += 600
    if "release-next" in town.kms.names:
        with refused("key-revoked") as reasons:
            town.renew(UNTIL)
        assert "--cancel" in (reasons[0].hint or "")
    town.cancel()
    town.clock.at += 600
    all_at_once_accepting(town)
    assert town.signs_by_alias() == town.signs_by_reference() == OTHER_SIGNER
    assert keys_in(town.sink) == [OTHER_SIGNER]


@pytest.mark.parametrize("stage", ["published", "switching", "switched"])
def test_new_key_of_a_rotation_is_revoked_and_the_old_one_is_back(stage: str) -> None:
    town = prepared()
    if stage != "published":
        town.rotate(switch=NOW_AT_ONCE, patience=30.0 if stage == "switching" else 600.0)
    assert town.stage == stage
    town.revoke(OTHER_SIGNER, "release-next", accept_lockout=True)
    with refused("key-revoked") as reasons:
        town.rotate(switch=NOW_AT_ONCE)
    assert "--cancel" in (reasons[0].hint or "")
    town.clock.at += 600
    done = town.cancel()
    assert done.rotation.stage is Stage.NONE
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert keys_in(town.sink) == [SIGNER]
    assert list(town.refusals()) == []


def signs(town: Town, name: str) -> Fingerprint:
    key, _ = load_signing_key(
        KeyLocation("kms", name),
        KeyShelf(NO_FILES, town.kms),
        town.keyring(),
        expected=SIGNER,
        now=town.now,
    )
    return key.fingerprint


def all_at_once_accepting(town: Town) -> None:
    town.rotate(switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, accept_lockout=True)


def test_copies_of_an_adopted_key_are_marked_too() -> None:
    """They have an older set-up's description; in the middle of a renewal both would sign."""
    town = ended()
    stored, content = town.kms.keys["id-0"]
    town.kms.keys["id-0"] = replace(stored, description="made by hand"), content
    site = town.site(wait_seconds=30.0)
    with refused("key-moving"):
        renew_key(Renewal(ALIAS, REFERENCE, UNTIL), site)
    town.revoke(name="id-3")
    town.clock.at += 600
    town.cancel()
    for name in ("id-0", "id-3", "release"):
        with refused("key-revoked"):
            signs(town, name)


def test_key_without_a_certificate_gets_one_when_it_is_revoked() -> None:
    town = alone()
    del town.kms.keys["id-2"]
    assert "release-revocation" not in town.kms.names
    assert town.revoke().verdict.passed
    assert accepted(town, SIGNER) == set()
    assert (
        f"revoked-{SIGNER}-revocation" in town.kms.names
    )  # or the next one would publish it as a good one
    town.clock.at += DAY
    with refused("key-revoked"):
        town.renew(UNTIL)
    assert good_ones(town.sink) == set()


def test_retired_key_beside_it_does_not_hide_whose_place_it_was() -> None:
    """A cluster that was switched, not retired: the next rotation finds the revoked key there."""
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    all_at_once(town)
    town.rotate(sink=other, switch=NOW_AT_ONCE)
    town.revoke(OTHER_SIGNER, sink=other, accept_lockout=True)
    published = read_published(published_in(other), FakeKeyring()).every
    assert {key.fingerprint: key.is_revoked for key in published} == {
        SIGNER: False,
        OTHER_SIGNER: True,
    }
    town.clock.at += 600
    plan = {"replaced": OTHER_SIGNER, "sink": other, "next_key": THIRD_SIGNER}
    done = town.rotate(**plan, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, accept_lockout=True)
    assert done.rotation.stage is Stage.NONE
    assert town.signs_by_reference(other) == THIRD_SIGNER


def test_image_counts_only_where_every_secret_has_its_other_key() -> None:
    town = prepared()
    lone = copy.deepcopy(town.sink.documents["Secret/public"])
    lone["metadata"]["name"] = "lone"
    lone["data"]["key"] = base64.b64encode(FakeKeyring().export_block([SIGNER])).decode()
    town.sink.documents["Secret/lone"] = lone
    both = town.images[0]
    assert both.digest is not None
    signature = message(both.tagged_name, both.digest, OTHER_SIGNER)
    town.registry.signatures[both.canonical_name].append(signature)
    done = town.revoke(images=(both,))
    assert [reason.code for reason in done.verdict.reasons] == ["running-images-refused"]


def test_public_halves_are_marked_by_the_next_run_if_need_be() -> None:
    town = alone()
    steps = iter(range(100))

    def die_after_the_first_mark() -> None:
        if next(steps) == 1:
            raise Killed

    town.kms.step = die_after_the_first_mark
    with pytest.raises(Killed):
        town.revoke()
    town.kms.step = lambda: None
    town.revoke()
    marks = {f"revoked-{SIGNER}", f"revoked-{SIGNER}-public"}
    assert marks <= set(town.kms.names)
    assert town.kms.names[f"revoked-{SIGNER}-public"] == town.kms.names["release-public"]


@pytest.mark.parametrize("what", ["rotate", "renew"])
def test_key_that_is_revoked_meanwhile_is_not_published_again(what: str) -> None:
    """A run that began before knows the Secrets as they were."""
    town = alone()
    town.clock.at = 30 * DAY
    keyring = town.keyring()
    make = keyring.generate_key if what == "rotate" else keyring.extend_key

    def while_it_is_made(*arguments: Any) -> Any:
        town.revoke()
        return make(*arguments)

    name = "generate_key" if what == "rotate" else "extend_key"
    setattr(keyring, name, while_it_is_made)
    site = town.site(keyring=keyring)
    if what == "rotate":
        plan = RotationPlan(ALIAS, SIGNER, REFERENCE, KeyRequest("imgsec image signing"))
        rotate_key(plan, site)
        assert OTHER_SIGNER in keys_in(town.sink)
    else:
        with refused("key-revoked"):
            renew_key(Renewal(ALIAS, REFERENCE, NOW + timedelta(days=1000)), site)
        assert "release-next" not in town.kms.names
    assert accepted(town, SIGNER) == set()


# --- At the same time as something else ----------------------------------------------------------


def good_ones(sink: FakeSink) -> set[Fingerprint]:
    """What a place publishes as keys that count."""
    keys = read_published(published_in(sink), FakeKeyring()).every
    return {key.fingerprint for key in keys if not key.is_revoked}


def signing_now(town: Town) -> Fingerprint | None:
    """What the alias leads to; None while it moves, and for a key that is revoked."""
    try:
        return town.signs_by_alias()
    except ImgsecError as error:
        if error.reason.code != "key-revoked":
            raise
        return None


def interleaved(
    town: Town, moment: int, first: Callable[[], object], second: Callable[[], object]
) -> None:
    """The first, and at one of its moments the second from its beginning to its end."""
    count = iter(range(1, 1000))

    def step() -> None:
        if next(count) == moment:
            town.clock.at += 0.1
            with suppress(ImgsecError):
                second()

    town.kms.step = town.sink.on_publish = town.sink.after_publish = step
    with suppress(ImgsecError):
        first()
    town.kms.step = town.sink.on_publish = town.sink.after_publish = lambda: None


@pytest.mark.parametrize("moment", range(1, 30))
def test_set_up_does_not_undo_a_revocation(moment: int) -> None:
    town = alone()
    interleaved(town, moment, town.set_up, lambda: town.revoke(accept_lockout=True))
    if f"revoked-{SIGNER}" in town.kms.names:
        assert good_ones(town.sink) == set()


@pytest.mark.parametrize("moment", range(1, 60))
@pytest.mark.parametrize("name", ["release", "release-next"])
@pytest.mark.parametrize("what", ["switch", "retire", "cancel"])
@pytest.mark.parametrize("is_within", [True, False])
def test_rotation_does_not_undo_a_revocation(
    moment: int, name: str, what: str, is_within: bool
) -> None:
    town = prepared()
    images = tuple(town.images)
    if what == "retire":
        town.rotate(switch=NOW_AT_ONCE, images=images)
        town.clock.at += 600
        name = {"release": "release-old", "release-next": "release"}[name]
    going = name in ("release-old",) or (what != "retire" and name == "release")
    fingerprint = SIGNER if going else OTHER_SIGNER
    runs = {
        "switch": lambda: town.rotate(switch=NOW_AT_ONCE),
        "retire": lambda: town.rotate(retire=NOW_AT_ONCE, images=images),
        "cancel": lambda: town.cancel(accept_lockout=True),
    }
    revoked = lambda: town.revoke(fingerprint, name, accept_lockout=True)  # noqa: E731
    first, second = (runs[what], revoked) if is_within else (revoked, runs[what])
    interleaved(town, moment, first, second)
    if f"revoked-{fingerprint}" in town.kms.names:
        assert fingerprint not in good_ones(town.sink)


@pytest.mark.parametrize("moment", range(1, 60))
@pytest.mark.parametrize("until", [UNTIL, NOW + timedelta(days=30)])
@pytest.mark.parametrize("is_within", [True, False])
def test_renewal_does_not_undo_a_revocation(moment: int, until: datetime, is_within: bool) -> None:
    """Neither one that makes a copy, nor one that only publishes the key."""
    town = alone()
    renewed = lambda: town.renew(until)  # noqa: E731
    revoked = lambda: town.revoke(accept_lockout=True)  # noqa: E731
    first, second = (renewed, revoked) if is_within else (revoked, renewed)
    interleaved(town, moment, first, second)
    if f"revoked-{SIGNER}" in town.kms.names:
        assert good_ones(town.sink) == set()
        assert signing_now(town) is None


@pytest.mark.parametrize("moment", range(1, 30))
def test_two_revocations_do_not_undo_each_other(moment: int) -> None:
    town = prepared()
    interleaved(
        town,
        moment,
        lambda: town.revoke(accept_lockout=True),
        lambda: town.revoke(OTHER_SIGNER, "release-next", accept_lockout=True),
    )
    revoked = {one for one in (SIGNER, OTHER_SIGNER) if f"revoked-{one}" in town.kms.names}
    assert not good_ones(town.sink) & revoked


@pytest.mark.parametrize("moment", range(1, 40))
def test_revocation_within_the_look_for_another_one_is_seen(moment: int) -> None:
    """The first one was told elsewhere; the rotation makes up for it, and the second one comes."""
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    town.revoke(sink=other, accept_lockout=True)
    interleaved(
        town,
        moment,
        lambda: town.rotate(switch=NOW_AT_ONCE, accept_lockout=True),
        lambda: town.revoke(OTHER_SIGNER, "release-next", accept_lockout=True),
    )
    revoked = {one for one in (SIGNER, OTHER_SIGNER) if f"revoked-{one}" in town.kms.names}
    assert not good_ones(town.sink) & revoked


def test_both_keys_revoked_in_several_places_is_no_dead_end() -> None:
    town, other, third = prepared(), FakeSink(), Fingerprint("EF" * 20)
    other.documents = copy.deepcopy(town.sink.documents)
    for name, fingerprint in (("release", SIGNER), ("release-next", OTHER_SIGNER)):
        for sink in (town.sink, other):
            town.revoke(fingerprint, name, sink=sink, accept_lockout=True)
    town.cancel()
    town.clock.at += 600
    plan = {"next_key": third, "accept_lockout": True}
    for _ in range(2):
        town.rotate(**plan, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
        town.clock.at += 600
    for _ in range(3):
        town.rotate(**plan, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, sink=other)
    assert town.signs_by_reference(other) == third
    assert good_ones(other) == {third}


def test_place_that_went_another_way_is_brought_along() -> None:
    """The new key is revoked in one place, and taken back and replaced in the other."""
    town, other, third = prepared(), FakeSink(), Fingerprint("EF" * 20)
    other.documents = copy.deepcopy(town.sink.documents)
    town.rotate(switch=NOW_AT_ONCE)
    town.rotate(switch=NOW_AT_ONCE, sink=other)
    town.clock.at += 600
    town.revoke(OTHER_SIGNER, sink=other, accept_lockout=True)
    town.cancel()
    town.clock.at += 600
    plan = {"next_key": third, "accept_lockout": True}
    for _ in range(2):
        town.rotate(**plan, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
        town.clock.at += 600
    for replaced in (OTHER_SIGNER, OTHER_SIGNER, SIGNER, SIGNER):
        done = town.rotate(
            **plan, replaced=replaced, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, sink=other
        )
    assert town.signs_by_reference(other) == third
    assert good_ones(other) == {third}
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do"]


def test_copy_of_a_revoked_key_that_would_not_say_so_is_not_given() -> None:
    town = alone()
    town.kms.add_alias("id-0", f"revoked-{SIGNER}")
    where = KeyLocation("kms", "release")
    keys = load_keys_to_publish(where, town.kms, town.keyring())
    assert [key.is_revoked for key in keys] == [True]
    del town.kms.keys["id-2"]
    with refused("key-revoked"):
        load_keys_to_publish(where, town.kms, town.keyring())
    town.revoke(accept_lockout=True)
    assert [key.is_revoked for key in load_keys_to_publish(where, town.kms, town.keyring())]
