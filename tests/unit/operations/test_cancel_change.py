# SPDX-License-Identifier: Apache-2.0
"""A rotation or a renewal is taken back, from wherever it stands."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest

from imgsec.domain.keys import (
    Fingerprint,
    KeyAlias,
    SecretBytes,
)
from imgsec.domain.rotation import Stage
from imgsec.errors import ImgsecError
from imgsec.operations.cancel_change import Cancellation, cancel_change
from imgsec.operations.rotate_key import Rotated
from tests.unit.operations.fakes import (
    OTHER_SIGNER,
    SIGNER,
    FakeSink,
)
from tests.unit.operations.town import (
    ALIAS,
    DAY,
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


def test_rotation_is_taken_back_as_long_as_the_old_key_signs() -> None:
    town = prepared()
    done = town.cancel()
    assert done.rotation.stage is Stage.NONE
    assert_as_before(town)
    assert set(KeyAlias.retired(OTHER_SIGNER).parts) <= set(town.kms.names)
    assert [note.code for note in town.cancel().verdict.notes] == ["nothing-to-do"]
    town.clock.at += 600
    assert town.rotate().rotation.stage is Stage.PUBLISHED, "a new one may begin"


def assert_as_before(town: Town) -> None:
    assert not {*ALIAS.successor.parts, *ALIAS.predecessor.parts} & set(town.kms.names)
    assert [town.kms.names[name] for name in ALIAS.parts] == ["id-0", "id-1", "id-2"]
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert keys_in(town.sink) == [SIGNER]
    assert list(town.refusals()) == []


def test_after_the_switch_it_is_taken_back_only_by_who_says_so() -> None:
    town = prepared()
    town.rotate(switch=NOW_AT_ONCE)
    town.clock.at += 600
    image = town.release(9)
    with refused("key-conflict"):
        town.cancel()
    assert town.stage is Stage.SWITCHED
    town.cancel(accept_lockout=True)
    assert list(town.refusals()), "what only the new key signed, as was accepted"
    town.images.remove(image)
    assert_as_before(town)


def test_cancellation_that_is_killed_at_any_moment_is_finished_by_the_next_run() -> None:
    def switched() -> Town:
        town = prepared()
        town.rotate(switch=NOW_AT_ONCE)
        town.clock.at += 600
        town.is_watched = True
        return town

    town = switched()
    town.cancel(accept_lockout=True)
    whole = town.moments
    assert whole > 30
    for moment in range(1, whole + 1):
        town = switched()
        town.dies_at = moment
        with pytest.raises(Killed):
            town.cancel(accept_lockout=True)
        town.dies_at = None
        town.cancel(accept_lockout=True)
        assert_as_before(town)


def test_rotation_that_was_killed_anywhere_is_taken_back_or_over() -> None:
    """There is one way or the other out of every state."""
    for moment in range(1, moments() + 1):
        town = prepared()
        town.is_watched, town.dies_at = True, moment
        with pytest.raises(Killed):
            all_at_once(town)
        town.dies_at = None
        town.clock.at += 600
        is_over = any(name.startswith("retired-") for name in town.kms.names)
        if is_over and "release-next" in town.kms.names:
            with refused("key-retired"):
                town.cancel(accept_lockout=True)
            all_at_once(town)
        else:
            town.cancel(accept_lockout=True)
        if is_over:
            assert_finished(town)
        else:
            assert_as_before(town)


def test_renewal_is_taken_back() -> None:
    """Or finished, once nothing is left of it than names."""
    for moment in range(1, 60):
        town = ended()
        town.is_watched, town.dies_at = True, moment
        try:
            town.renew(UNTIL)
        except Killed:
            town.dies_at = None
            town.clock.at += 600
            is_over = f"spare-{SIGNER}-id-0" in town.kms.names
            if is_over and "release-next" in town.kms.names:
                with refused("key-retired") as reasons:
                    town.cancel()
                assert "keys renew" in (reasons[0].hint or "")
                town.renew(UNTIL)
            town.cancel()
            assert not {*ALIAS.successor.parts, *ALIAS.predecessor.parts} & set(town.kms.names)
            marked = [one.aliases for one in town.kms.list_keys() if len(one.aliases) > 1]
            assert marked == [], moment  # a spare copy has none of the alias's own names
            assert town.signs_by_alias() == town.signs_by_reference() == SIGNER, moment
            assert list(town.refusals()) == [], moment


def test_another_key_than_was_meant_is_not_taken_back_to() -> None:
    town = prepared()
    with refused("key-fingerprint-mismatch"):
        town.cancel(replaced=OTHER_SIGNER)


def test_way_back_to_an_ended_key_is_refused() -> None:
    town = Town()
    town.set_up(days=20)
    town.rotate()
    town.clock.at = 30 * DAY
    with refused("key-expired"):
        town.cancel()


def test_key_that_is_being_taken_back_is_neither_rotated_nor_renewed() -> None:
    town = prepared()
    town.kms.add_alias(town.kms.names["release-next"], f"retired-{OTHER_SIGNER}")
    with refused("key-conflict") as reasons:
        town.rotate()
    assert "--cancel" in (reasons[0].hint or "")


def test_foreign_key_under_the_successors_name_loses_that_name_only() -> None:
    town = Town()
    town.set_up()
    secret = SecretBytes(b"\x95secret " + str(OTHER_SIGNER).encode())
    theirs = town.kms.store_key("staging", secret, name="n", description="")
    town.kms.add_alias(theirs.id, "release-next")
    done = town.cancel()
    assert town.kms.keys[theirs.id][0].aliases == ("staging",)
    assert [note.code for note in done.verdict.notes] == ["not-made-for-this"]
    assert "staging" in done.verdict.notes[0].text


def test_rotation_does_not_go_on_with_what_is_being_taken_back() -> None:
    """In HPCS an alias needs ten minutes: the way back is cut short, and a nightly job comes."""
    town = prepared()
    town.rotate(switch=NOW_AT_ONCE)
    town.clock.at += 600
    with refused("key-moving"):
        cancel_change(
            Cancellation(ALIAS, REFERENCE, accept_lockout=True), town.site(wait_seconds=30.0)
        )
    with refused("key-conflict") as reasons:
        town.rotate(switch=NOW_AT_ONCE)
    assert "--cancel" in (reasons[0].hint or "")
    assert town.signs_by_reference() == SIGNER
    town.clock.at += 600
    town.cancel()  # what was accepted once stays accepted
    assert_as_before(town)


@pytest.mark.parametrize("moment", range(1, 40))
def test_rotation_and_its_cancellation_at_once_leave_a_way_out(moment: int) -> None:
    """At each moment of the one, the other one runs from its beginning to its end.

    Even right before a change that was decided before.
    """
    town = prepared()
    count = iter(range(1, 1000))

    def cancel_now() -> None:
        if next(count) == moment:
            town.clock.at += 0.1
            with suppress(ImgsecError):
                town.cancel(accept_lockout=True)

    town.kms.step = town.sink.after_publish = cancel_now
    with suppress(ImgsecError):
        town.rotate(switch=NOW_AT_ONCE)
    town.kms.step = town.sink.after_publish = lambda: None
    town.clock.at += 600
    for _ in range(2):
        town.clock.at += 600
        with suppress(ImgsecError):
            town.cancel(accept_lockout=True)
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert keys_in(town.sink) == [SIGNER]


def test_place_that_has_nothing_to_do_with_it_takes_nothing_back() -> None:
    town, other = prepared(), FakeSink()
    held = dict(town.kms.keys)
    with refused("key-unpublished"):
        town.cancel(sink=other)
    assert town.kms.keys == held


def test_second_cluster_lets_go_of_what_was_taken_back() -> None:
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    town.rotate(switch=NOW_AT_ONCE, sink=other)
    town.clock.at += 600
    with refused("key-conflict"):
        town.cancel()  # it signs already, if not here
    town.cancel(accept_lockout=True)
    done = town.cancel(sink=other)
    assert done.changes
    assert keys_in(other) == [SIGNER]
    assert town.signs_by_reference(other) == SIGNER
    assert [note.code for note in town.cancel(sink=other).verdict.notes] == ["nothing-to-do"]


def test_cluster_that_is_behind_is_not_taken_back() -> None:
    town, other = prepared(), FakeSink()
    other.documents = copy.deepcopy(town.sink.documents)
    all_at_once(town)
    with refused("key-retired"):
        town.cancel(sink=other)
    assert set(keys_in(other)) == {SIGNER, OTHER_SIGNER}


def test_names_that_two_runs_left_are_put_right() -> None:
    town = prepared()
    town.cancel()
    town.kms.add_alias("id-0", "release-old")
    with refused("key-conflict") as reasons:
        town.rotate()
    assert "--cancel" in (reasons[0].hint or "")
    town.cancel()
    assert_as_before(town)
    town.clock.at += 600
    town.kms.add_alias("id-0", "release-old")
    town.kms.remove_alias("id-0", "release")
    town.clock.at += 600
    town.cancel()
    assert_as_before(town)


def test_reference_that_cannot_be_written_is_noticed_before_the_alias_is_marked() -> None:
    town = prepared()
    del town.sink.documents["Secret/portieris-keys"]["metadata"]["labels"]
    with refused("foreign-object"):
        town.rotate(switch=NOW_AT_ONCE)
    assert "release-old" not in town.kms.names
    assert town.signs_by_alias() == SIGNER


@pytest.mark.parametrize("part", ["", "-public"])
def test_key_without_room_for_another_name_is_noticed_before_the_switch(part: str) -> None:
    town = prepared()
    for number in range(4):
        town.kms.add_alias(town.kms.names[f"release{part}"], f"own-{number}{part}")
    with refused("request-refused"):
        town.rotate(switch=NOW_AT_ONCE)
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert town.stage is Stage.PUBLISHED


def test_nothing_is_moved_where_nothing_is_wrong() -> None:
    """A spare copy's parts are described as those of the key in use."""
    town = ended()
    town.renew(UNTIL)
    town.clock.at += 600
    held = dict(town.kms.keys)
    assert [note.code for note in town.cancel().verdict.notes] == ["nothing-to-do"]
    assert town.kms.keys == held


def test_renewal_that_was_cut_short_at_its_very_end_and_revoked_is_no_dead_end() -> None:
    for moment in range(1, 60):
        town = ended()
        town.is_watched, town.dies_at = True, moment
        try:
            town.renew(UNTIL)
        except Killed:
            town.is_watched = False
            town.clock.at += 600
            town.revoke(name="release" if "release" in town.kms.names else "release-old")
            with suppress(ImgsecError):
                town.cancel()
            town.clock.at += 600
            if "release-next" in town.kms.names:
                town.cancel()
                town.clock.at += 600
            town.rotate(switch=NOW_AT_ONCE, retire=NOW_AT_ONCE, accept_lockout=True)
            assert town.signs_by_alias() == town.signs_by_reference() == OTHER_SIGNER, moment


@pytest.mark.parametrize("moment", range(1, 30))
@pytest.mark.parametrize("is_first", [True, False])
def test_retirement_and_cancellation_at_once_leave_a_way_out(moment: int, is_first: bool) -> None:
    """Each may retire the key that the other one keeps."""
    town = prepared()
    town.rotate(switch=NOW_AT_ONCE, images=tuple(town.images))
    town.clock.at += 600
    count = iter(range(1, 1000))

    def retire() -> None:
        town.rotate(retire=NOW_AT_ONCE, images=tuple(town.images))

    def cancel() -> None:
        town.cancel(accept_lockout=True)

    first, second = (retire, cancel) if is_first else (cancel, retire)

    def both() -> None:
        if next(count) == moment:
            town.clock.at += 0.1
            with suppress(ImgsecError):
                second()

    town.kms.step = town.sink.after_publish = both
    with suppress(ImgsecError):
        first()
    town.kms.step = town.sink.after_publish = lambda: None
    for replaced in (None, OTHER_SIGNER, SIGNER, None):
        town.clock.at += 600
        with suppress(ImgsecError):
            town.cancel(accept_lockout=True, replaced=replaced)
        town.clock.at += 600
        if "release-next" in town.kms.names:
            with suppress(ImgsecError):
                retire()
    assert town.signs_by_alias() == town.signs_by_reference(), sorted(town.kms.names)
    assert town.signs_by_alias() in keys_in(town.sink)
    assert not {*ALIAS.successor.parts, *ALIAS.predecessor.parts} & set(town.kms.names)
    assert list(town.refusals()) == []


def test_key_that_everything_calls_retired_is_brought_back_where_it_is_published() -> None:
    town = prepared()
    all_at_once(town)
    town.clock.at += 600
    for part in ALIAS.parts:
        town.kms.remove_alias(town.kms.names[part], part)
    retired = KeyAlias.retired(OTHER_SIGNER)
    stored = {one.description: one.id for one in town.kms.list_keys()}
    town.kms.add_alias(
        stored[f"imgsec secret half, OpenPGP fingerprint {OTHER_SIGNER}"], str(retired)
    )
    town.clock.at += 600
    for way in ({}, {"accept_lockout": True}, {"replaced": OTHER_SIGNER}):
        with refused("key-not-found") as reasons:
            town.cancel(**way)
    assert f"--fingerprint {OTHER_SIGNER}" in (reasons[0].hint or "")
    done = town.cancel(accept_lockout=True, replaced=OTHER_SIGNER)
    assert ("kms://release", "restored") in [(one.target, one.state) for one in done.changes]
    assert_finished(town)


def cancel_as(name: str, town: Town, sink: FakeSink) -> Rotated:
    return cancel_change(Cancellation(KeyAlias(name), REFERENCE), town.site(place=sink))


@pytest.mark.parametrize("kind", ["beside", "switched elsewhere", "behind"])
def test_mistyped_alias_changes_nothing(kind: str) -> None:
    town, sink = prepared(), FakeSink()
    sink.documents = copy.deepcopy(town.sink.documents)
    if kind == "switched elsewhere":
        town.rotate(switch=NOW_AT_ONCE)
        town.clock.at += 600
    if kind == "behind":
        all_at_once(town)
        town.clock.at += 600
    keys, documents = dict(town.kms.keys), copy.deepcopy(sink.documents)
    with refused("key-not-found"):
        cancel_as("relase", town, sink)
    assert (town.kms.keys, sink.documents) == (keys, documents)


def test_place_of_another_alias_is_left_alone() -> None:
    town, sink = prepared(), FakeSink()
    sink.documents = copy.deepcopy(town.sink.documents)
    all_at_once(town)
    secret = SecretBytes(b"\x95secret " + b"EF" * 20)
    description = f"imgsec secret half, OpenPGP fingerprint {'EF' * 20}"
    town.kms.store_key("other", secret, name="n", description=description)
    public = SecretBytes(b"\x99public " + b"EF" * 20)
    town.kms.store_key("other-public", public, name="n", description="")
    documents = copy.deepcopy(sink.documents)
    done = cancel_as("other", town, sink)
    assert [note.code for note in done.verdict.notes] == ["nothing-to-do"]
    assert sink.documents == documents


@pytest.mark.parametrize("moment", range(1, 24))
def test_cancellation_while_the_new_key_is_made_leaves_nothing_in_the_way(moment: int) -> None:
    town, other = alone(), FakeSink()
    town.clock.at = DAY
    other.documents = copy.deepcopy(town.sink.documents)
    count = iter(range(1, 1000))

    def cancel_now() -> None:
        if next(count) == moment:
            town.clock.at += 0.1
            with suppress(ImgsecError):
                town.cancel(sink=other, accept_lockout=True)

    town.kms.step = town.sink.after_publish = cancel_now
    with suppress(ImgsecError):
        town.rotate()
    town.kms.step = town.sink.after_publish = lambda: None
    for _ in range(2):
        town.clock.at += 600
        with suppress(ImgsecError):
            town.cancel(accept_lockout=True)
    assert not {*ALIAS.successor.parts, *ALIAS.predecessor.parts} & set(town.kms.names)
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
    assert keys_in(town.sink) == [SIGNER]
    town.clock.at += 30 * DAY
    town.rotate(next_key=Fingerprint("EF" * 20))
    assert town.stage is Stage.PUBLISHED


def test_alias_that_is_nobodys_is_put_right_beside_one_of_the_operators_own() -> None:
    town = alone()
    town.kms.add_alias("id-0", "prod")
    town.kms.add_alias("id-0", "release-old")
    town.kms.remove_alias("id-0", "release")
    town.clock.at += 600
    town.cancel()
    assert "release-old" not in town.kms.names
    assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
