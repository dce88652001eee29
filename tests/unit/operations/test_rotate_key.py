# SPDX-License-Identifier: Apache-2.0
"""A signing key is replaced while pipelines sign, clusters check and nodes learn late.

At every single change that a rotation makes, and on every day of a year of it, all that should run
is accepted by Portieris's rule and by GPGME's, and whoever signs has a key that is published.
"""

from __future__ import annotations

import base64
import copy
from datetime import timedelta

import pytest

from imgsec.domain.keys import (
    Fingerprint,
    KeyAlias,
    KeyLocation,
    KeyRequest,
    SecretBytes,
)
from imgsec.domain.reference import ImageReference
from imgsec.domain.rotation import Stage, When
from imgsec.domain.verdict import Verdict
from imgsec.operations.inspect_keys import list_keys, show_key
from imgsec.operations.rotate_key import RotationPlan, rotate_key, show_rotation
from imgsec.operations.signing_key import (
    SIGNING_PART,
    KeyShelf,
    describe,
    load_keys_to_publish,
    load_signing_key,
)
from imgsec.operations.verify_digest import check_signatures
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeKeyring,
    FakeSink,
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
    assert_finished,
    ended,
    keys_in,
    moments,
    prepared,
)
from tests.unit.refusals import refused


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


@pytest.mark.parametrize("whose", ["nobody's", "another key's", "another alias's"])
def test_key_that_somebody_else_put_there_is_not_published(whose: str) -> None:
    town = Town()
    town.set_up()
    secret = SecretBytes(b"\x95secret " + str(OTHER_SIGNER).encode())
    said = {
        "nobody's": "",
        "another key's": describe(SIGNING_PART, SIGNER),
        "another alias's": describe(SIGNING_PART, OTHER_SIGNER),
    }[whose]
    theirs = town.kms.store_key("release-next", secret, name="theirs", description=said)
    if whose == "another alias's":
        town.kms.add_alias(theirs.id, "staging")
    before = town.published
    with refused("key-conflict"):
        town.rotate(switch=NOW_AT_ONCE)
    assert town.published == before


# --- Dates ----------------------------------------------------------------------------------------


def test_dates_that_are_past_leave_an_overlap_all_the_same() -> None:
    """A nightly job that did not run for a month: one stage in each run."""
    town = Town()
    town.set_up()
    images = (town.release(1),)
    switch, retire = (When(NOW + timedelta(days=days)) for days in (1, 2))
    town.clock.at = 30 * DAY
    seen = []
    for _ in range(4):
        done = town.rotate(switch=switch, retire=retire, images=images)
        seen.append((done.rotation.stage, [note.code for note in done.verdict.notes]))
        town.clock.at += DAY
    assert seen == [
        (Stage.PUBLISHED, ["not-yet-due"]),
        (Stage.SWITCHED, ["not-yet-due"]),
        (Stage.NONE, []),
        (Stage.NONE, ["nothing-to-do"]),
    ]


@pytest.mark.parametrize("days", [0, -1])
def test_retirement_comes_after_the_switch(days: int) -> None:
    switch, retire = When(NOW), When(NOW + timedelta(days=days))
    with refused("invalid-option"):
        RotationPlan(ALIAS, SIGNER, REFERENCE, KeyRequest("imgsec signing"), switch, retire)


def test_retirement_at_once_beside_a_date_for_the_switch_leaves_no_overlap() -> None:
    with refused("invalid-option"):
        RotationPlan(ALIAS, SIGNER, REFERENCE, KeyRequest("imgsec signing"), When(NOW), NOW_AT_ONCE)


# --- What is signed again -------------------------------------------------------------------------


def test_image_is_signed_again_by_its_digest_when_its_tag_has_moved_on() -> None:
    """What runs by digest stays deployable, whatever its tag names now, or without one."""
    town = prepared()
    first, second = town.images[:2]
    town.registry.push(first.tagged_name, b'{"newer": 1}')
    bare = ImageReference.parse(second.canonical_name)
    done = town.rotate(images=(first, bare), switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
    assert done.verdict.passed, done.verdict
    for image in (first, second):
        signatures = town.registry.signatures[image.canonical_name]
        keyring = FakeKeyring()
        found = check_signatures(image, signatures, keyring, OTHER_SIGNER)
        assert not isinstance(found, Verdict)


# --- Several clusters -----------------------------------------------------------------------------


def test_cluster_that_was_left_out_is_brought_along() -> None:
    """The rotation ended in one cluster; the other one still publishes, and names, the old key."""
    town, other = Town(), FakeSink()
    town.set_up()
    town.set_up(sink=other)
    image = town.release(1)
    town.rotate()
    town.clock.at = 30 * DAY
    all_at_once(town)
    assert (keys_in(other), keys_in(town.sink)) == ([SIGNER], [OTHER_SIGNER])
    with refused("key-retired"):
        town.signs_by_reference(other)
    status = show_rotation(ALIAS, REFERENCE, town.site(place=other))
    assert (status.stage, status.old and status.old.fingerprint) == (Stage.MADE, SIGNER)
    done = town.rotate(sink=other)
    assert done.rotation.stage is Stage.PUBLISHED
    assert set(keys_in(other)) == {SIGNER, OTHER_SIGNER}
    done = town.rotate(sink=other, switch=NOW_AT_ONCE)
    assert done.rotation.stage is Stage.SWITCHED
    assert town.signs_by_reference(other) == OTHER_SIGNER
    with refused("invalid-option"):
        town.rotate(sink=other, retire=NOW_AT_ONCE)
    done = town.rotate(sink=other, retire=NOW_AT_ONCE, images=(image,))
    assert (done.rotation.stage, keys_in(other)) == (Stage.NONE, [OTHER_SIGNER])
    done = town.rotate(sink=other, retire=NOW_AT_ONCE, images=(image,))
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do"]
    assert len(town.kms.keys) == 6


def test_cluster_that_is_behind_keeps_the_old_key_published_while_the_first_one_ends() -> None:
    """Killed in the first one, after the old key got the name of a retired one."""
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    town.is_watched, town.dies_at = True, moments_until_retired()
    with pytest.raises(Killed):
        all_at_once(town)
    town.is_watched = False
    assert f"retired-{SIGNER}" in town.kms.names
    assert "release-next" in town.kms.names
    done = town.rotate(sink=other)
    assert keys_in(other) == [SIGNER, OTHER_SIGNER]
    assert done.rotation.stage is Stage.PUBLISHED
    done = town.rotate(
        sink=other, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, images=tuple(town.images)
    )
    assert (done.rotation.stage, keys_in(other)) == (Stage.NONE, [OTHER_SIGNER])


def moments_until_retired() -> int:
    for moment in range(1, 100):
        town = prepared()
        town.is_watched, town.dies_at = True, moment
        with pytest.raises(Killed):
            all_at_once(town)
        if f"retired-{SIGNER}" in town.kms.names:
            return moment
    raise AssertionError("it is never retired")


def test_spare_copy_is_no_key_of_its_own() -> None:
    town, other = ended(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    town.renew(UNTIL)
    entries = {entry.alias: entry for entry in list_keys(town.kms, town.keyring(), None, now=NOW)}
    spare = str(KeyAlias.spare(SIGNER, "id-0"))
    assert set(entries) == {"release", spare}
    assert [note.code for note in entries[spare].verdict.notes] == ["spare-copy"]
    town.clock.at += 600
    done = town.rotate(sink=other)  # its Secret names the spare copy, which is that key
    assert done.rotation.stage is Stage.PUBLISHED
    town.rotate()
    all_at_once(town)
    with refused("key-retired"):
        town.signs_by_reference(other)


def test_secret_that_imgsec_may_not_change_stops_it_before_there_is_a_key() -> None:
    town = Town()
    town.set_up()
    foreign = copy.deepcopy(town.sink.documents["Secret/public"])
    foreign["metadata"] = {"name": "theirs", "namespace": "apps"}
    town.sink.documents["Secret/theirs"] = foreign
    held = dict(town.kms.keys)
    with refused("foreign-object") as reasons:
        town.rotate()
    assert "apps/theirs" in reasons[0].text
    with refused("foreign-object"):
        town.renew(UNTIL)
    assert town.kms.keys == held


# --- What others are told -------------------------------------------------------------------------


def test_copy_of_ones_own_has_both_keys_before_the_switch() -> None:
    town = prepared()
    for stage in (Stage.PUBLISHED, Stage.SWITCHED):
        assert town.stage is stage
        keyring = town.keyring()
        keys = load_keys_to_publish(KeyLocation("kms", "release"), town.kms, keyring)
        assert {key.fingerprint for key in keys} == {SIGNER, OTHER_SIGNER}
        town.rotate(switch=NOW_AT_ONCE)


def test_key_that_somebody_put_under_the_successors_name_is_not_handed_out() -> None:
    town = Town()
    town.set_up()
    secret = SecretBytes(b"\x95secret " + str(OTHER_SIGNER).encode())
    theirs = town.kms.store_key(
        "staging", secret, name="n", description=describe(SIGNING_PART, OTHER_SIGNER)
    )
    public = SecretBytes(b"\x99public " + str(OTHER_SIGNER).encode())
    town.kms.store_key("staging-public", public, name="n", description="imgsec public half")
    town.kms.add_alias(theirs.id, "release-next")
    keys = load_keys_to_publish(KeyLocation("kms", "release"), town.kms, town.keyring())
    assert [key.fingerprint for key in keys] == [SIGNER]


def test_key_whose_alias_moves_is_not_unknown() -> None:
    town = prepared()
    town.rotate(patience=30.0, switch=NOW_AT_ONCE)
    assert "release" not in town.kms.names
    with refused("key-moving"):
        show_key("release", town.kms, town.keyring(), None, now=town.now)
    with refused("key-moving"):
        town.revoke()


def test_status_tells_of_a_retired_key_that_is_still_trusted_here() -> None:
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    all_at_once(town)
    town.rotate(sink=other, switch=NOW_AT_ONCE)
    status = show_rotation(ALIAS, REFERENCE, town.site(place=other))
    assert (status.stage, status.old and status.old.fingerprint) == (Stage.SWITCHED, SIGNER)


def test_run_right_after_a_killed_one_does_not_switch_by_a_past_date() -> None:
    town = Town()
    town.set_up()
    town.clock.at = 30 * DAY
    town.is_watched, town.dies_at = True, 8  # right after publishing
    with pytest.raises(Killed):
        town.rotate(switch=When(NOW))
    assert OTHER_SIGNER in keys_in(town.sink)
    town.is_watched = False
    town.clock.at += 60
    done = town.rotate(switch=When(NOW))
    assert (done.rotation.stage, [note.code for note in done.verdict.notes]) == (
        Stage.PUBLISHED,
        ["not-yet-due"],
    )
    town.clock.at += DAY
    assert town.rotate(switch=When(NOW)).rotation.stage is Stage.SWITCHED


def test_switch_that_was_waited_for_is_not_followed_by_the_retirement_at_once() -> None:
    town = prepared()
    plan = {"switch": When(NOW), "retire": When(NOW + timedelta(days=1))}
    town.rotate(patience=30.0, images=tuple(town.images), **plan)
    town.clock.at += 300
    done = town.rotate(images=tuple(town.images), **plan)
    assert done.rotation.stage is Stage.SWITCHED


def test_inventory_tells_of_secrets_that_others_made() -> None:
    town = Town()
    town.set_up()
    foreign = copy.deepcopy(town.sink.documents["Secret/public"])
    foreign["metadata"] = {"name": "theirs", "namespace": "apps"}
    town.sink.documents["Secret/theirs"] = foreign
    entry = show_key("release", town.kms, town.keyring(), town.sink, now=town.now)
    assert [one.secret for one in entry.published or ()] == ["portieris/public", "apps/theirs"]


def test_ended_key_vouches_for_nothing_that_could_be_signed_again() -> None:
    town = Town()
    town.set_up(days=20)
    town.release(1)
    town.rotate()
    town.clock.at = 30 * DAY
    with refused("key-expired") as reasons:
        town.rotate(images=tuple(town.images), switch=NOW_AT_ONCE)
    assert "--cancel --accept-lockout" in (reasons[0].hint or "")
    town.cancel(accept_lockout=True)
    town.clock.at += 600
    town.renew(UNTIL)
    town.clock.at += 600
    town.rotate(images=tuple(town.images), switch=NOW_AT_ONCE)
    assert town.signs_by_reference() == OTHER_SIGNER


def test_secret_that_no_cluster_would_take_is_noticed_before_there_is_a_key() -> None:
    town = alone()
    del town.sink.documents["Secret/public"]["metadata"]["namespace"]
    with refused("invalid-name"):
        town.rotate()
    assert "release-next" not in town.kms.names


@pytest.mark.parametrize("what", ["rotate", "renew"])
def test_another_alias_of_the_key_is_told_since_it_stays(what: str) -> None:
    town = alone()
    town.kms.add_alias("id-0", "prod")
    notes = town.rotate().verdict.notes if what == "rotate" else town.renew(UNTIL).notes
    told = [note.text for note in notes if note.code == "other-alias-stays"]
    assert len(told) == 1
    assert "kms://prod" in told[0]


def test_further_retired_key_that_is_still_published_is_told() -> None:
    town, third = prepared(), Fingerprint("EF" * 20)
    held = copy.deepcopy(town.sink.documents["Secret/public"])
    all_at_once(town)
    town.clock.at += 30 * DAY
    plan = {"replaced": OTHER_SIGNER, "next_key": third, "accept_lockout": True}
    town.rotate(**plan, switch=NOW_AT_ONCE, retire=NOW_AT_ONCE)
    town.clock.at += 600
    done = town.rotate(**plan)
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do"]
    held["metadata"]["name"] = "elsewhere"
    held["data"]["key"] = base64.b64encode(FakeKeyring().export_block([SIGNER])).decode()
    town.sink.documents["Secret/elsewhere"] = held
    done = town.rotate(**plan)
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do", "retired-key-published"]
    assert f"{SIGNER}" in done.verdict.notes[1].text
    assert "portieris/elsewhere" in done.verdict.notes[1].text
