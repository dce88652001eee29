# SPDX-License-Identifier: Apache-2.0
"""A signing key gets a later end while pipelines sign and clusters check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imgsec.domain.keys import (
    Fingerprint,
    KeyAlias,
    PublicKey,
)
from imgsec.domain.verifiers import Verifier, judge_key
from imgsec.operations.published_keys import read_published
from imgsec.operations.renew_key import Renewal, renew_key
from tests.unit.operations.fakes import (
    OTHER_SIGNER,
    SIGNER,
    FakeKeyring,
    FakeSink,
)
from tests.unit.operations.town import (
    ALIAS,
    DAY,
    LEARNING_DAYS,
    REFERENCE,
    UNTIL,
    Killed,
    ended,
    prepared,
    published_in,
)
from tests.unit.refusals import refused


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
        spare = KeyAlias.spare(SIGNER, "id-0").parts
        assert set(town.kms.names) == {*ALIAS.parts, *spare}, moment
        assert len(town.kms.keys) == 6, moment
        assert town.signs_by_alias() == town.signs_by_reference() == SIGNER
        assert read_published(town.published, FakeKeyring()).every[0].expires == UNTIL


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


def test_end_date_that_openpgp_cannot_say_is_refused() -> None:
    with refused("invalid-option"):
        Renewal(ALIAS, REFERENCE, datetime(2106, 2, 7, tzinfo=UTC))


def test_end_date_that_gpg_did_not_set_is_not_published() -> None:
    class Wrapping(FakeKeyring):
        def extend_key(self, fingerprint: Fingerprint, until: datetime) -> PublicKey:
            return super().extend_key(fingerprint, until - timedelta(days=365))

    town = ended()
    before = town.published
    site = replace(town.site(), keyring=Wrapping(OTHER_SIGNER, now=town.now))
    with refused("key-creation-failed"):
        renew_key(Renewal(ALIAS, REFERENCE, UNTIL), site)
    assert (town.published, "release-next" in town.kms.names) == (before, False)


def test_renewal_that_was_cut_short_says_that_it_ends_before_what_is_asked_now() -> None:
    town = ended()
    town.is_watched, town.dies_at = True, 12
    with pytest.raises(Killed):
        town.renew(UNTIL)
    town.is_watched = False
    later = UNTIL + timedelta(days=100)
    with refused("key-moving") as reasons:
        town.renew(later)
    assert f"{UNTIL:%Y-%m-%d}" in reasons[0].text
    town.clock.at += 600
    assert town.renew(later).key.expires == later


def test_second_cluster_gets_the_later_end_too() -> None:
    town, other = ended(), FakeSink()
    town.clock.at = 0
    town.set_up(days=20, sink=other)
    town.renew(UNTIL)
    assert town.signs_by_reference(other) == SIGNER, "by the spare copy, until it ends"
    town.renew(UNTIL, sink=other)
    assert read_published(published_in(other), FakeKeyring()).every[0].expires == UNTIL
    assert other.documents == town.sink.documents
    assert [note.code for note in town.renew(UNTIL, sink=other).notes] == ["nothing-to-do"]
