# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyRequest, Subkey
from imgsec.domain.policy import ImagePolicy, KeySecret, Namespace, ObjectName, PolicyKind
from imgsec.domain.reference import RepositoryPattern
from imgsec.domain.report import KeySummary
from imgsec.operations.setup_signing_keys import ClusterNames, setup_signing_keys
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeKeyring,
    FakeKms,
    FakeSink,
)
from tests.unit.refusals import refused

SECRET = KeySecret(ObjectName("public"), Namespace("portieris"))
NAMES = ClusterNames(
    SECRET,
    ObjectName("portieris-keys"),
    ImagePolicy(
        ObjectName("policy"), PolicyKind.CLUSTER, (RepositoryPattern("r.example/*"),), SECRET
    ),
)


def set_up(
    kms: FakeKms, keyring: FakeKeyring | None = None, sink: FakeSink | None = None
) -> tuple[KeySummary, list[str]]:
    summary, changes = setup_signing_keys(
        KeyAlias("release"),
        KeyRequest("imgsec image signing"),
        kms=kms,
        keyring=keyring or FakeKeyring(),
        sink=sink or FakeSink(),
        names=NAMES,
        now=NOW,
    )
    return summary, [change.state for change in changes]


def secret(fingerprint: Fingerprint = SIGNER) -> bytes:
    return b"\x95secret " + str(fingerprint).encode()


def public(fingerprint: Fingerprint = SIGNER) -> bytes:
    return b"\x99public " + str(fingerprint).encode()


def test_first_run_makes_everything_and_second_nothing() -> None:
    kms, keyring, sink = FakeKms(), FakeKeyring(), FakeSink()
    summary, states = set_up(kms, keyring, sink)
    assert set(states) == {"created"}
    assert kms.keys == {"release": secret(), "release-public": public()}
    assert (summary.fingerprint, summary.key_id) == (SIGNER, "id-release")
    assert set(sink.documents) == {
        "Secret/public",
        "Secret/portieris-keys",
        "ClusterImagePolicy/policy",
    }
    again, states = set_up(kms, keyring, sink)
    assert set(states) == {"unchanged"}
    assert again == summary
    assert len(keyring.made) == 1


def test_sink_that_takes_nothing_is_noticed_before_anything_is_made() -> None:
    kms, keyring = FakeKms(), FakeKeyring()
    with refused("output-unwritable"):
        set_up(kms, keyring, FakeSink(is_ready=False))
    assert kms.asked == []
    assert keyring.made == []


def test_pattern_that_is_given_twice_stands_once_in_the_policy() -> None:
    twice = (RepositoryPattern("r.example/*"),) * 2
    policy = ImagePolicy(ObjectName("p"), PolicyKind.CLUSTER, twice, SECRET)
    assert policy.signed == twice[:1]


def test_run_that_was_cut_short_is_finished() -> None:
    kms, keyring = FakeKms({"release": secret()}), FakeKeyring()
    set_up(kms, keyring)
    assert kms.keys["release-public"] == public()
    assert keyring.made == []


def test_public_half_alone_is_a_loss_that_nobody_papers_over() -> None:
    kms = FakeKms({"release-public": public()})
    with refused("key-conflict"):
        set_up(kms)
    assert set(kms.keys) == {"release-public"}


def test_halves_that_do_not_belong_together_are_refused() -> None:
    sink = FakeSink()
    with refused("key-conflict"):
        set_up(FakeKms({"release": secret(), "release-public": public(OTHER_SIGNER)}), sink=sink)
    assert sink.documents == {}


@pytest.mark.parametrize("moment", range(8))
def test_another_run_may_be_faster_at_any_moment(moment: int) -> None:
    kms, keyring = FakeKms(), FakeKeyring()
    left = iter(range(100))

    def other_run(*_: object) -> None:
        if next(left) == moment:
            kms.keys.setdefault("release", secret(OTHER_SIGNER))
            kms.keys.setdefault("release-public", public(_owner(kms)))

    def _owner(kms: FakeKms) -> Fingerprint:
        return Fingerprint(kms.keys["release"].removeprefix(b"\x95secret ").decode())

    kms.before = other_run
    summary, _ = set_up(kms, keyring)
    assert kms.keys == {"release": secret(_owner(kms)), "release-public": public(_owner(kms))}
    assert summary.fingerprint == _owner(kms)


def test_kms_that_gives_back_other_bytes_is_not_believed() -> None:
    sink = FakeSink()
    with refused("key-store-mismatch"):
        set_up(FakeKms(garbles=True), sink=sink)
    assert sink.documents == {}


@pytest.mark.parametrize(
    ("flaw", "code"),
    [
        ({"expires": NOW}, "key-expired"),
        ({"is_revoked": True}, "key-revoked"),
        ({"subkeys": (Subkey("rsa2048", can_sign=True),)}, "key-unusable"),
    ],
)
def test_stored_key_that_may_not_sign_is_not_published(flaw: dict[str, Any], code: str) -> None:
    sink = FakeSink()
    with refused(code):
        set_up(FakeKms({"release": secret()}), FakeKeyring(flawed=flaw), sink)
    assert sink.documents == {}


@pytest.mark.parametrize("content", [b"", b"junk", public()])
def test_stored_payload_that_is_no_secret_key_is_malformed(content: bytes) -> None:
    with refused("key-malformed"):
        set_up(FakeKms({"release": content}))
