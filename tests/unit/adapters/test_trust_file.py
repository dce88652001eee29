# SPDX-License-Identifier: Apache-2.0
"""What the output of `docker trust inspect` is good for, and what it leaves open."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imgsec.adapters.trust_file import TrustFile
from imgsec.domain.content_trust import Signer, Stop, TrustJudgement, TrustStop, judge_trust
from imgsec.domain.engine_name import EngineName
from tests.trust_collection import Key
from tests.unit.refusals import refused

D, OTHER = "d" * 64, "e" * 64
ALICE, BOB = Key.ecdsa(), Key.rsa()


def entry(name: str = "app", *rows: tuple[str, str, list[str]], **signers: Key) -> dict[str, Any]:
    """As docker prints an image (docs.docker.com, `docker trust inspect`)."""
    return {
        "Name": name,
        "SignedTags": [
            {"SignedTag": tag, "Digest": digest, "Signers": by} for tag, digest, by in rows
        ],
        "Signers": [{"Name": each, "Keys": [{"ID": key.id}]} for each, key in signers.items()],
        "AdministrativeKeys": [
            {"Name": "Root", "Keys": [{"ID": "1" * 64}]},
            {"Name": "Repository", "Keys": [{"ID": "2" * 64}]},
        ],
    }


def read(folder: Path, document: Any) -> TrustFile:
    path = folder / "trust.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return TrustFile.read(str(path))


def judged(folder: Path, document: Any, image: str, *signers: Signer) -> TrustJudgement:
    answer = read(folder, document).fetch_trusted("", EngineName.parse(image), [])
    return judge_trust(answer, signers, datetime.now(UTC))


def test_tag_by_the_administrator_lets_in(tmp_path: Path) -> None:
    document = [entry("alpine", ("3", D, ["Repo Admin"]), ("2", OTHER, ["Repo Admin"]))]
    for image in ("alpine:3", "docker.io/library/alpine:3", "alpine:3@sha256:x"):
        judgement = judged(tmp_path, document, image)
        assert judgement.digest == D
        assert any("docker verified it" in note for note in judgement.notes)


def test_pinned_signer_lets_in_by_key(tmp_path: Path) -> None:
    document = [entry("app", ("1", D, ["alice", "ci/team"]), alice=ALICE, **{"ci/team": BOB})]
    team = Signer("ci/team", BOB.certified("team").pem)
    assert judged(tmp_path, document, "app:1", Signer("alice", ALICE.pem), team).digest == D
    wrong = judged(tmp_path, document, "app:1", Signer("alice", BOB.pem))
    assert wrong.stop == TrustStop(Stop.READING, "Public keys are different")


def test_signer_who_is_not_listed_is_missed(tmp_path: Path) -> None:
    document = [entry("app", ("1", D, ["alice"]), alice=ALICE, bob=BOB)]
    judgement = judged(tmp_path, document, "app:1", Signer("bob", BOB.pem))
    assert judgement.stop
    assert judgement.stop.text == "no signature found for role bob"
    assert "Incompatible digest" in judgement.stop.others


def test_tag_that_nobody_can_have_signed_is_denied(tmp_path: Path) -> None:
    judgement = judged(tmp_path, [entry("app", ("1", D, ["Repo Admin"]))], "app")
    assert judgement.stop == TrustStop(Stop.READING, "No valid trust data for latest")


def test_tag_that_a_delegation_may_have_signed_is_left_open(tmp_path: Path) -> None:
    with refused("admission-open"):
        judged(tmp_path, [entry("app", ("1", D, ["alice"]), alice=ALICE)], "app:2")


@pytest.mark.parametrize("image", ["other:1", "r.example/app:1", "app:2"])
def test_image_of_which_the_file_says_nothing_is_left_open(tmp_path: Path, image: str) -> None:
    with refused("admission-open"):
        judged(tmp_path, [entry("app:1", ("1", D, ["Repo Admin"]))], image)


def test_empty_file_leaves_all_open(tmp_path: Path) -> None:
    with refused("admission-open"):
        judged(tmp_path, [], "app:1")


@pytest.mark.parametrize(
    "document",
    [
        [entry("app", ("1", D, ["Repo Admin"]), ("1", OTHER, ["Repo Admin"]))],
        [entry("app", ("1", D, ["Repo Admin"])), entry("app:1", ("1", OTHER, ["Repo Admin"]))],
    ],
)
def test_contradiction_is_left_open(tmp_path: Path, document: Any) -> None:
    with refused("admission-open"):
        judged(tmp_path, document, "app:1")


def test_same_image_twice_is_one(tmp_path: Path) -> None:
    document = [entry("app", ("1", D, ["Repo Admin"])), entry("app:1", ("1", D, ["Repo Admin"]))]
    assert judged(tmp_path, document, "app:1").digest == D


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null x",
        "{}",
        '{"Name":"app"}',
        "[null]",
        "[[]]",
        "[{}]",
        '[{"Name":5}]',
        '[{"Name":"App"}]',
        '[{"Name":"app@sha512:' + "0" * 128 + '"}]',
        '[{"Name":"app","Name":"b"}]',
        '[{"Name":"app","SignedTags":{}}]',
        '[{"Name":"app","SignedTags":[{"SignedTag":"1"}]}]',
        '[{"Name":"app","SignedTags":[{"SignedTag":"1","Digest":"sha256:x"}]}]',
        '[{"Name":"app","Signers":[{"Name":"a","Keys":[{"ID":"x"}]}]}]',
        "[" * 100_000,
    ],
)
def test_file_of_another_kind_is_refused(tmp_path: Path, document: str) -> None:
    with refused("input-malformed"):
        read(tmp_path, document)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused("input-unreadable"):
        TrustFile.read(str(tmp_path / "none.json"))
