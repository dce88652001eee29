# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from typing import Any

import pytest

from imgsec.domain.keys import Fingerprint, KeyAlias, KeyRequest, SecretBytes, Subkey
from imgsec.domain.kubernetes import key_secret_document
from imgsec.domain.policy import ImagePolicy, KeySecret, Namespace, ObjectName, PolicyKind
from imgsec.domain.reference import RepositoryPattern
from imgsec.domain.report import KeySummary
from imgsec.errors import ImgsecError, KeyDeleted, KeyExists
from imgsec.operations.setup_signing_keys import (
    PRIVATE_KEY_NAME,
    PUBLIC_KEY_NAME,
    ClusterNames,
    Wanted,
    setup_signing_keys,
)
from imgsec.ports import StoredKey
from imgsec.reasons import KEY_CONFLICT, KEY_NOT_FOUND, KEY_TOO_LARGE
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    SIGNER,
    FakeKeyring,
    FakeKms,
    FakeSink,
)
from tests.unit.operations.town import ALIAS, all_at_once, alone, prepared
from tests.unit.operations.town import REFERENCE as TOWN_REFERENCE
from tests.unit.operations.town import SECRET as TOWN_SECRET
from tests.unit.refusals import refused

SECRET = KeySecret(ObjectName("public"), Namespace("portieris"))
NAMES = ClusterNames(
    SECRET,
    KeySecret(ObjectName("portieris-keys"), Namespace("portieris")),
    ImagePolicy(
        ObjectName("policy"), PolicyKind.CLUSTER, (RepositoryPattern("r.example/*"),), SECRET
    ),
)


def set_up(
    kms: FakeKms, keyring: FakeKeyring | None = None, sink: FakeSink | None = None, **wanted: Any
) -> tuple[KeySummary, list[str]]:
    done = setup_signing_keys(
        Wanted(KeyAlias("release"), **{"source": KeyRequest("imgsec image signing"), **wanted}),
        kms=kms,
        keyring=keyring or FakeKeyring(),
        sink=sink or FakeSink(),
        names=NAMES,
        now=NOW,
    )
    return done.summary, [change.state for change in done.changes]


def secret(fingerprint: Fingerprint = SIGNER) -> bytes:
    return b"\x95secret " + str(fingerprint).encode()


def public(fingerprint: Fingerprint = SIGNER) -> bytes:
    return b"\x99public " + str(fingerprint).encode()


def stored(signer: Fingerprint = SIGNER) -> dict[str, bytes]:
    """All that a set-up leaves in the KMS."""
    revocation = b"revokes " + str(signer).encode()
    return {
        "release": secret(signer),
        "release-public": public(signer),
        "release-revocation": revocation,
    }


def test_first_run_makes_everything_and_second_nothing() -> None:
    kms, keyring, sink = FakeKms(), FakeKeyring(), FakeSink()
    summary, states = set_up(kms, keyring, sink)
    assert set(states) == {"created"}
    assert kms.keys == stored()
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


@pytest.mark.parametrize("name", ["Secret/public", "ClusterImagePolicy/policy"])
def test_somebody_elses_object_is_noticed_before_a_key_is_made(name: str) -> None:
    kms, keyring = FakeKms(), FakeKeyring()
    kind, _, named = name.partition("/")
    sink = FakeSink({name: {"kind": kind, "metadata": {"name": named}}})
    with refused("foreign-object"):
        set_up(kms, keyring, sink)
    assert (kms.keys, keyring.made) == ({}, [])


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


def test_certificate_alone_is_a_loss_too() -> None:
    kms = FakeKms({"release-revocation": b"x"})
    with refused("key-conflict"):
        set_up(kms)
    assert set(kms.keys) == {"release-revocation"}


def test_certificate_of_another_key_is_refused() -> None:
    kms = FakeKms({"release": secret(), "release-revocation": b"x"})
    for said in ("", f"imgsec revocation certificate, OpenPGP fingerprint {OTHER_SIGNER}"):
        kms.described["release-revocation"] = said
        with refused("key-conflict"):
            set_up(kms)
    kms.described["release-revocation"] = (
        f"imgsec revocation certificate, OpenPGP fingerprint {SIGNER}"
    )
    assert "unchanged" in set_up(kms)[1]


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
    assert kms.keys == stored(_owner(kms))
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


# --- Killed, and run again ------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", range(20))
def test_run_that_is_killed_after_any_step_is_finished_by_the_next(moment: int) -> None:
    kms, sink, keyring = FakeKms(), FakeSink(), FakeKeyring()
    left = iter(range(100))

    def count(*_: object) -> None:
        if next(left) == moment:
            raise Killed

    kms.before, sink.on_publish = count, count
    was_killed = False
    try:
        set_up(kms, keyring, sink)
    except Killed:
        was_killed = True
    assert was_killed is (moment < STEPS)
    kms.before, sink.on_publish = lambda *_: None, lambda: None
    keyring.next_key = OTHER_SIGNER  # a second key would be another one
    left_behind = dict(kms.keys)
    summary, _ = set_up(kms, keyring, sink)
    if "release" in left_behind:
        assert kms.keys["release"] == left_behind["release"]
    assert kms.keys == stored(summary.fingerprint)
    assert len(sink.documents) == 3
    assert set(set_up(kms, keyring, sink)[1]) == {"unchanged"}


STEPS = 17  # calls of KMS and sink in a first run


# --- A key that exists already --------------------------------------------------------------------

OLD, OLDER, OLD_PUBLIC = "old-id", "older-id", "old-public-id"


def predecessor(**more: tuple[str, bytes]) -> FakeKms:
    """What the older script leaves: a pair of KMS keys, and none has an alias."""
    pair = {OLD: (PRIVATE_KEY_NAME, secret()), OLD_PUBLIC: (PUBLIC_KEY_NAME, public())}
    return FakeKms(nameless={"unrelated": ("database password", b"x"), **pair, **more})


def reference(key_id: str = OLD, instance: str = "instance", fingerprint: str = str(SIGNER)) -> Any:
    """The Secret that the older script wrote."""
    values = {
        "vault-url": "https://kms.example",
        "vault-instance-id": instance,
        "vault-key-id": key_id,
        "portieris-signature-fingerprint": fingerprint,
    }
    data = {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}
    metadata = {"name": "portieris-keys", "namespace": "portieris"}
    return {"kind": "Secret", "metadata": metadata, "data": data}


def sink_with(document: Any) -> FakeSink:
    return FakeSink({"Secret/portieris-keys": document})


def test_key_of_an_older_set_up_stops_a_second_one() -> None:
    for sink in (FakeSink(), sink_with(reference())):
        kms, keyring = predecessor(), FakeKeyring()
        with refused("existing-key-found") as reasons:
            set_up(kms, keyring, sink)
        assert OLD in reasons[0].text
        assert "--adopt" in reasons[0].hint
        assert kms.keys == {}
        assert keyring.made == []
        assert "ClusterImagePolicy/policy" not in sink.documents


@pytest.mark.parametrize("sink", [FakeSink(), sink_with(reference())])
def test_key_of_an_older_set_up_is_adopted(sink: FakeSink) -> None:
    kms, keyring = predecessor(), FakeKeyring()
    summary, states = set_up(kms, keyring, sink, adopt=True)
    assert (summary.key_id, summary.fingerprint) == (OLD, SIGNER)
    assert states[:2] == ["adopted", "created"]
    assert kms.keys == stored()
    assert keyring.made == []
    again, states = set_up(kms, keyring, sink)
    assert set(states) == {"unchanged"}
    assert again == summary


def test_adopted_key_needs_somebody_who_vouches_for_it() -> None:
    kms = predecessor()
    del kms.nameless[OLD_PUBLIC]
    with refused("invalid-option") as reasons:
        set_up(kms, adopt=True)
    assert "--fingerprint" in reasons[0].hint
    assert kms.keys == {}
    set_up(kms, adopt=True, expected=SIGNER)
    assert kms.keys["release"] == secret()


def test_public_half_of_another_key_vouches_for_nothing() -> None:
    kms = predecessor(**{OLD_PUBLIC: (PUBLIC_KEY_NAME, public(OTHER_SIGNER))})
    with refused("invalid-option"):
        set_up(kms, adopt=True)
    kms = predecessor(**{OLD_PUBLIC: (PUBLIC_KEY_NAME, b"junk")})
    with refused("invalid-option"):
        set_up(kms, adopt=True)


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (FakeSink(), OTHER_SIGNER),
        (sink_with(reference(fingerprint=str(OTHER_SIGNER))), None),
    ],
)
def test_key_with_another_fingerprint_is_not_adopted(
    sink: FakeSink, expected: Fingerprint | None
) -> None:
    kms = predecessor()
    with refused("key-fingerprint-mismatch"):
        set_up(kms, sink=sink, adopt=True, expected=expected)
    assert kms.keys == {}


def test_of_several_keys_the_named_one_is_adopted() -> None:
    more = {OLDER: (PRIVATE_KEY_NAME, secret(OTHER_SIGNER))}
    with refused("existing-key-found") as reasons:
        set_up(predecessor(**more), adopt=True)
    assert OLD in reasons[0].text
    assert OLDER in reasons[0].text
    kms = predecessor(**more)
    set_up(kms, adopt=True, key_id=OLDER, expected=OTHER_SIGNER)
    assert kms.keys["release"] == secret(OTHER_SIGNER)
    kms = predecessor(**more)
    set_up(kms, sink=sink_with(reference()), adopt=True)
    assert kms.keys["release"] == secret()
    with refused("existing-key-found"):
        set_up(predecessor(), adopt=True, key_id="unrelated", expected=SIGNER)


@pytest.mark.parametrize(
    "document",
    [
        reference(key_id="null"),
        reference(key_id=""),
        reference(instance="another"),
        {**reference(), "data": None},
        {**reference(), "data": {"vault-key-id": "no base64!"}},
    ],
)
@pytest.mark.parametrize("kms", [FakeKms(), predecessor()])
def test_secret_that_names_no_key_of_this_kms_is_no_ground_to_make_one(
    kms: FakeKms, document: Any
) -> None:
    for adopt in (False, True):
        with refused("key-conflict"):
            set_up(kms, sink=sink_with(document), adopt=adopt)
    assert kms.keys == {}


def test_alias_and_secret_must_mean_one_key() -> None:
    kms = predecessor()
    kms.keys["release"] = secret(OTHER_SIGNER)
    sink = sink_with(reference())
    for adopt in (False, True):
        with refused("key-conflict") as reasons:
            set_up(kms, sink=sink, adopt=adopt)
        assert "id-release" in reasons[0].text
        assert OLD in reasons[0].text
    assert set(kms.keys) == {"release"}


def test_retired_key_of_our_own_is_no_older_set_up() -> None:
    kms = FakeKms()
    set_up(kms)
    kms.remove_alias("id-release", "release")
    kms.remove_alias("id-release-public", "release-public")
    kms.remove_alias("id-release-revocation", "release-revocation")
    kms.described["id-release"] = "imgsec secret half"
    set_up(kms, FakeKeyring(next_key=OTHER_SIGNER))
    assert kms.keys["release"] == secret(OTHER_SIGNER)


def test_foreign_secret_is_taken_over_only_by_adoption() -> None:
    kms, sink = FakeKms({"release": secret()}), sink_with(reference(key_id="id-release"))
    with refused("foreign-object"):
        set_up(kms, sink=sink)
    assert "updated" in set_up(kms, sink=sink, adopt=True)[1]


# --- A key that is given --------------------------------------------------------------------------


def test_given_key_is_stored_once() -> None:
    kms, keyring = FakeKms(), FakeKeyring()
    given = SecretBytes(secret(OTHER_SIGNER))
    summary, _ = set_up(kms, keyring, source=given)
    assert summary.fingerprint == OTHER_SIGNER
    assert kms.keys["release"] == secret(OTHER_SIGNER)
    assert keyring.made == []
    again, states = set_up(kms, keyring, source=given)
    assert (again.key_id, states[0]) == (summary.key_id, "unchanged")


@pytest.mark.parametrize(
    ("subkeys", "cause", "remedy"),
    [
        ((Subkey("rsa4096", can_sign=False),), "it has subkeys (rsa4096)", f" {SIGNER}!"),
        ((), "its user ids", "export-minimal"),
    ],
)
def test_key_that_is_too_large_is_told_why_and_what_to_do(
    subkeys: tuple[Subkey, ...], cause: str, remedy: str
) -> None:
    def refuse(operation: str, _: str) -> None:
        if operation == "store":
            raise ImgsecError(KEY_TOO_LARGE("the key has 8000 bytes, the KMS holds 7500"))

    kms = FakeKms(before=refuse)
    with refused("key-too-large") as reasons:
        set_up(kms, FakeKeyring(flawed={"subkeys": subkeys}), source=SecretBytes(secret()))
    assert cause in reasons[0].text
    assert remedy in reasons[0].hint


def test_given_key_makes_no_second_one_beside_that_of_an_older_set_up() -> None:
    kms = predecessor()
    for source in (secret(), secret(OTHER_SIGNER)):
        with refused("existing-key-found"):
            set_up(kms, source=SecretBytes(source))
    with refused("key-conflict") as reasons:
        set_up(kms, source=SecretBytes(secret(OTHER_SIGNER)), adopt=True)
    assert str(SIGNER) in reasons[0].text
    assert str(OTHER_SIGNER) in reasons[0].text
    assert kms.keys == {}
    summary, _ = set_up(kms, source=SecretBytes(secret()), adopt=True)
    assert (summary.key_id, summary.fingerprint) == (OLD, SIGNER)


def test_given_key_never_replaces_another() -> None:
    kms = FakeKms({"release": secret()})
    with refused("key-conflict") as reasons:
        set_up(kms, source=SecretBytes(secret(OTHER_SIGNER)))
    assert str(SIGNER) in reasons[0].text
    assert str(OTHER_SIGNER) in reasons[0].text
    assert kms.keys["release"] == secret()


@pytest.mark.parametrize("kms", [FakeKms(), FakeKms({"release": secret()})])
def test_given_or_stored_key_must_have_the_expected_fingerprint(kms: FakeKms) -> None:
    before = dict(kms.keys)
    with refused("key-fingerprint-mismatch"):
        set_up(kms, source=SecretBytes(secret()), expected=OTHER_SIGNER)
    assert kms.keys == before


def test_new_key_cannot_have_an_expected_fingerprint() -> None:
    kms, keyring = FakeKms(), FakeKeyring()
    with refused("key-not-found"):
        set_up(kms, keyring, expected=SIGNER)
    assert keyring.made == []
    assert kms.keys == {}


def test_given_key_that_may_not_sign_is_not_stored() -> None:
    kms = FakeKms()
    with refused("key-expired"):
        set_up(kms, FakeKeyring(flawed={"expires": NOW}), source=SecretBytes(secret()))
    assert kms.keys == {}


@pytest.mark.parametrize("beside", [True, False])
def test_secret_that_publishes_another_key_is_not_overwritten(beside: bool) -> None:
    """Whatever relies on that key would be refused."""
    kms, sink = FakeKms(), FakeSink()
    set_up(kms, sink=sink)
    block = FakeKeyring().export_block([SIGNER, OTHER_SIGNER] if beside else [OTHER_SIGNER])
    document = key_secret_document(NAMES.public_key, block)
    sink.documents["Secret/public"] = document
    with refused("key-conflict") as reasons:
        set_up(kms, sink=sink)
    assert str(OTHER_SIGNER) in reasons[0].text
    assert sink.documents["Secret/public"] == document
    with refused("key-conflict"):  # adopting takes over what others made, and drops no key of it
        set_up(kms, sink=sink, adopt=True)
    assert sink.documents["Secret/public"] == document


def test_secret_that_publishes_another_key_is_noticed_before_one_is_made() -> None:
    kms, sink, keyring = FakeKms(), FakeSink(), FakeKeyring()
    block = FakeKeyring().export_block([OTHER_SIGNER])
    sink.documents["Secret/public"] = key_secret_document(NAMES.public_key, block)
    with refused("key-conflict"):
        set_up(kms, keyring, sink)
    assert (kms.keys, keyring.made) == ({}, [])


def test_deleted_half_that_keeps_its_alias_is_said_to_be_deleted() -> None:
    kms = FakeKms()
    set_up(kms)
    fetch = kms.fetch_key

    def deleted(name: str) -> tuple[StoredKey, SecretBytes]:
        if name == "release-public":
            raise KeyDeleted(KEY_NOT_FOUND("it was deleted, and keeps its alias"))
        return fetch(name)

    def taken(alias: str, *_: object, **__: object) -> StoredKey:
        raise KeyExists(KEY_CONFLICT(f"{alias} is taken"))

    kms.fetch_key = deleted  # type: ignore[method-assign]
    kms.store_key = taken  # type: ignore[method-assign]
    kms.keys.pop("release-public")
    with refused("key-not-found") as reasons:
        set_up(kms)
    assert "deleted" in reasons[0].text


@pytest.mark.parametrize("mark", ["revoked", "retired", "spare"])
def test_key_that_is_out_of_use_is_not_adopted(mark: str) -> None:
    """Its public half would be published as that of a good key again."""
    town = alone()
    if mark == "revoked":
        town.revoke()
    else:
        town.kms.add_alias("id-0", f"{mark}-{SIGNER}" + ("-id-0" if mark == "spare" else ""))
    published = town.published
    wanted = Wanted(
        KeyAlias("prod"), KeyRequest("imgsec image signing"), expected=SIGNER, adopt=True
    )
    with refused("key-conflict" if mark == "spare" else f"key-{mark}"):
        setup_signing_keys(
            wanted,
            kms=town.kms,
            keyring=town.keyring(),
            sink=town.sink,
            names=ClusterNames(TOWN_SECRET, TOWN_REFERENCE, None),
            now=town.now,
        )
    assert town.published == published
    assert "prod" not in town.kms.names


def test_key_that_is_out_of_use_is_not_offered_for_adoption() -> None:
    town = prepared()
    all_at_once(town)
    town.clock.at += 600
    for part in ALIAS.parts:
        town.kms.remove_alias(town.kms.names[part], part)
    town.clock.at += 600
    town.kms.add_alias("id-3", f"retired-{OTHER_SIGNER}")
    with refused("existing-key-found") as reasons:
        town.set_up()
    hint = reasons[0].hint or ""
    assert "out of use" in hint
    assert "--adopt" not in hint
