# SPDX-License-Identifier: Apache-2.0
"""A collection that the real client published on the real server, read by us."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgsec.adapters._http import Http
from imgsec.adapters.clock import SystemClock
from imgsec.adapters.notary import NotaryClient
from imgsec.domain.content_trust import (
    Signer,
    Stop,
    TrustAnswer,
    TrustJudgement,
    TrustStop,
    judge_trust,
)
from imgsec.domain.engine_name import EngineName
from tests.trust.conftest import Notary
from tests.trust_collection import Key, digest_of

GUN = "docker.io/library/app"
pytestmark = pytest.mark.once


def fetched(notary: Notary, image: str) -> TrustAnswer:
    client = NotaryClient(Http(), SystemClock())
    return client.fetch_trusted(notary.url, EngineName.parse(image), [])


def judged(notary: Notary, image: str, *signers: Signer) -> TrustJudgement:
    return judge_trust(fetched(notary, image), signers, datetime.now(UTC))


def words(judgement: TrustJudgement) -> str:
    assert judgement.stop is not None
    assert judgement.stop.at is Stop.READING
    return judgement.stop.text


def key_file(folder: Path, name: str, key: Key) -> Path:
    path = folder / f"{name}.pem"
    path.write_bytes(key.pem)
    return path


def import_key(notary: Notary, name: str, key: Key) -> None:
    """Let the client sign with it."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    path = notary.folder / f"{name}.key"
    path.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    notary.run("key", "import", str(path), "--role", "delegation", "--gun", GUN)


def test_what_targets_signed_is_trusted(notary: Notary) -> None:
    notary.run("init", "-p", GUN)
    notary.sign(GUN, "v1", digest_of("v1"))
    assert judged(notary, "app:v1").digest == digest_of("v1")
    assert words(judged(notary, "app:v2")) == "No valid trust data for v2"
    authority = notary.url.removeprefix("http://")
    missing = f"{authority} does not have trust data for docker.io/library/other"
    assert fetched(notary, "other:v1").stop == TrustStop(Stop.READING, missing)


def test_signers_are_held_against_their_keys(notary: Notary) -> None:
    alice = Key.ecdsa().certified("alice")
    bob = Key.rsa().certified("bob")
    carol = Key.ecdsa()
    notary.run("init", "-p", GUN)
    for name, key in (("alice", alice), ("bob", bob), ("carol", carol)):
        notary.delegate(GUN, f"targets/{name}", key_file(notary.folder, name, key))
        import_key(notary, name, key)
    keys = [notary.folder / f"{name}.pem" for name in ("alice", "bob")]
    notary.delegate(GUN, "targets/releases", *keys)
    d = digest_of("v1")
    notary.sign(GUN, "v1", d, "targets/releases", "targets/alice", "targets/bob", "targets/carol")
    notary.sign(GUN, "v2", d, "targets/releases", "targets/alice")
    notary.sign(GUN, "v2", digest_of("else"), "targets/bob")
    notary.sign(GUN, "v3", d, "targets/carol")

    a, b, c = (
        Signer(name, key.pem) for name, key in (("alice", alice), ("bob", bob), ("carol", carol))
    )
    assert judged(notary, "app:v1", a, b, c).digest == d
    assert judged(notary, "app:v2", a).digest == d
    assert words(judged(notary, "app:v2", a, b)) == "Incompatible digest"
    assert words(judged(notary, "app:v2", a, c)) == "no signature found for role carol"
    bare = Key("ecdsa", alice.private, b"").pem
    assert words(judged(notary, "app:v1", Signer("alice", bare))) == "Public keys are different"
    assert judged(notary, "app:v3").digest == ""
    assert words(judged(notary, "app:v3", c)) == "Incompatible digest"
    by_role = {each.role: each.key_ids for each in fetched(notary, "app:v1").targets}
    assert by_role["targets/releases"] == {alice.id, bob.id}
    assert by_role["targets/carol"] == {carol.id}


def test_delegation_speaks_for_its_paths_only(notary: Notary) -> None:
    key = Key.ecdsa().certified("team")
    path = key_file(notary.folder, "team", key)
    notary.run("init", "-p", GUN)
    notary.delegate(GUN, "targets/releases", path, paths=("v",))
    import_key(notary, "team", key)
    notary.sign(GUN, "v1", digest_of("v1"), "targets/releases")
    assert judged(notary, "app:v1").digest == digest_of("v1")
    notary.run("delegation", "remove", GUN, "targets/releases", "--paths", "v", "-y", "-p")
    notary.delegate(GUN, "targets/releases", path, paths=("w",))
    assert words(judged(notary, "app:v1")) == "No valid trust data for v1"


def test_rotated_keys_are_followed(notary: Notary) -> None:
    notary.run("init", "-p", GUN)
    notary.sign(GUN, "v1", digest_of("v1"))
    before = fetched(notary, "app:v1").targets[0].key_ids
    notary.run("key", "rotate", GUN, "targets")
    notary.run("key", "rotate", GUN, "snapshot", "-r")
    notary.run("key", "rotate", GUN, "timestamp", "-r")
    answer = fetched(notary, "app:v1")
    assert answer.targets[0].key_ids.isdisjoint(before)
    assert judge_trust(answer, [], datetime.now(UTC)).digest == digest_of("v1")


def test_tag_that_was_taken_back_is_not_trusted(notary: Notary) -> None:
    notary.run("init", "-p", GUN)
    notary.sign(GUN, "v1", digest_of("v1"))
    notary.run("remove", GUN, "v1", "-p")
    assert judged(notary, "app:v1").stop == TrustStop(Stop.READING, "No valid trust data for v1")
