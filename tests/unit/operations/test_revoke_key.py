# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyLocation, KeyRequest
from imgsec.domain.reference import ImageReference
from imgsec.domain.verifiers import Verifier, judge_key
from imgsec.operations.inspect_keys import list_keys
from imgsec.operations.published_keys import read_published
from imgsec.operations.revoke_key import Revocation, Revoked, revoke_key
from imgsec.operations.rotate_key import RotationPlan, rotate_key
from imgsec.operations.signing_key import KeyShelf, load_public_keys, load_signing_key
from tests.unit.operations.fakes import OTHER_SIGNER, SIGNER, FakeKeyring, message
from tests.unit.operations.test_rotate_key import (
    ALIAS,
    NO_FILES,
    NOW_AT_ONCE,
    REFERENCE,
    Town,
    prepared,
)
from tests.unit.refusals import refused


def revoke(town: Town, *images: ImageReference, **changes: Any) -> Revoked:
    wanted: dict[str, Any] = {"accept_lockout": False, **changes}
    site = town.site(cluster=wanted.pop("cluster", None))
    return revoke_key(Revocation("release", SIGNER, images, **wanted), site)


def accepted(town: Town, signer: Fingerprint) -> set[Verifier]:
    keys = read_published(town.published, FakeKeyring())
    return {one for one in Verifier if judge_key(one, signer, keys, town.now).passed}


def alone() -> Town:
    """One key, published by itself, and what it signed."""
    town = Town()
    town.set_up()
    for number in range(3):
        town.release(number)
    return town


def test_revoked_key_alone_is_published_as_revoked() -> None:
    town = alone()
    done = revoke(town)
    assert done.verdict.passed
    assert accepted(town, SIGNER) == set()
    assert [key.is_revoked for key in read_published(town.published, FakeKeyring()).every] == [True]
    assert [note.code for note in done.verdict.notes] == ["deleting-undoes-nothing"]


def test_beside_another_key_the_revoked_one_is_published_no_more() -> None:
    town = prepared()
    revoke(town)
    keys = read_published(town.published, FakeKeyring())
    assert [key.fingerprint for key in keys.every] == [OTHER_SIGNER]
    assert accepted(town, OTHER_SIGNER) == set(Verifier)


def test_kms_says_from_then_on_that_the_key_is_revoked() -> None:
    town = alone()
    revoke(town)
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
        (key,) = load_public_keys(KeyLocation("kms", name), shelf, town.keyring(), expected=None)
        assert key.is_revoked
    (entry,) = list_keys(town.kms, town.keyring(), None, now=town.now)
    assert [reason.code for reason in entry.verdict.reasons] == ["key-revoked"]
    with refused("key-revoked"):
        town.set_up()


def test_second_run_changes_nothing() -> None:
    town = alone()
    revoke(town)
    before, published = dict(town.kms.keys), town.published
    assert revoke(town).verdict.passed
    assert (town.kms.keys, town.published) == (before, published)


def test_what_only_the_key_signed_is_said_and_stops_it() -> None:
    town = prepared()
    both, foreign = town.images[0], town.registry.push("r.example/foreign:1")
    assert both.digest is not None
    signature = message(both.tagged_name, both.digest, OTHER_SIGNER)
    town.registry.signatures[both.canonical_name].append(signature)
    before = town.published
    done = revoke(town, *town.images, foreign)
    assert [part.verdict.outcome.word for part in done.images] == ["pass"] + ["refused"] * 3
    codes = [[reason.code for reason in part.verdict.reasons] for part in done.images]
    assert ["key-revoked" in found for found in codes] == [False, True, True, False]
    assert done.verdict.reasons[0].text.startswith("2 of 4 ")
    assert (town.published, done.changes) == (before, ())
    assert revoke(town, *town.images, accept_lockout=True).verdict.passed
    assert town.published != before


@dataclass
class Running:
    """A cluster in which one image runs that the Secret's key must have signed."""

    image: str

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        demands = {"type": "signedBy", "keySecret": "public", "keySecretNamespace": "portieris"}
        rule = {"name": "r.example/*", "policy": {"simple": {"requirements": [demands]}}}
        document = {"kind": kind, "metadata": {"name": "p"}, "spec": {"repositories": [rule]}}
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
        done: Any = revoke(town, cluster=cluster)
    else:
        plan = RotationPlan(
            ALIAS, SIGNER, REFERENCE, KeyRequest("imgsec signing"), NOW_AT_ONCE, NOW_AT_ONCE
        )
        done = rotate_key(plan, replace(town.site(), cluster=cluster))
        assert accepted(town, SIGNER) == set(Verifier)
    assert [one.image for one in done.running] == [cluster.image]
    assert done.verdict.reasons[0].code == "running-images-refused"


def test_another_key_than_the_named_one_is_not_revoked() -> None:
    town = alone()
    with refused("key-fingerprint-mismatch"):
        revoke_key(Revocation("release", OTHER_SIGNER), town.site())
    assert accepted(town, SIGNER) == set(Verifier)
