# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from imgsec.domain.identity import IdentityKind
from imgsec.domain.reference import ImageReference
from imgsec.domain.trust_policy import Blanket, SignedBy, TrustPolicy, scopes_of
from tests.unit.refusals import refused

ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}
SIGNED = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/keys/a.asc"}
IMAGE = ImageReference.parse("r.example.com:5000/team/app:1")


def policy(default: Any, **transports: Any) -> TrustPolicy:
    document = {"default": default, **({"transports": transports} if transports else {})}
    return TrustPolicy.parse(json.dumps(document).encode())


def test_scopes_go_from_the_tag_up_to_all_registries() -> None:
    assert scopes_of(IMAGE) == (
        "r.example.com:5000/team/app:1",
        "r.example.com:5000/team/app",
        "r.example.com:5000/team",
        "r.example.com:5000",
        "*.example.com",
        "*.com",
        "",
    )
    by_digest = f"r.example/app@sha256:{'1a' * 32}"
    assert scopes_of(ImageReference.parse(by_digest))[0] == by_digest
    assert scopes_of(ImageReference.parse("docker.io/nginx:1"))[1] == "docker.io/library/nginx"


@pytest.mark.parametrize("number", range(7))
def test_most_specific_scope_speaks_alone(number: int) -> None:
    scopes = scopes_of(IMAGE)
    docker = {scope: [REJECT] for scope in scopes[number + 1 :]} | {scopes[number]: [ACCEPT]}
    found = policy([REJECT], docker=docker).requirements_for(IMAGE)
    assert found == (Blanket.ACCEPT,)


def test_default_speaks_where_no_scope_does() -> None:
    scopes = {
        "r.example.com": [ACCEPT],
        "r.example.com:5000/tea": [ACCEPT],
        "example.com": [ACCEPT],
    }
    assert policy([REJECT], docker=scopes).requirements_for(IMAGE) == (Blanket.REJECT,)
    assert policy([REJECT], dir={"": [ACCEPT]}).requirements_for(IMAGE) == (Blanket.REJECT,)


def test_signed_by_has_keys_and_a_rule() -> None:
    several = {**SIGNED, "keyPaths": ["/a", "/b"]}
    del several["keyPath"]
    data = {**SIGNED, "keyData": base64.b64encode(b"key").decode()}
    del data["keyPath"]
    rule = {"type": "exactRepository", "dockerRepository": "o.example/app"}
    found = policy([SIGNED, several, {**data, "signedIdentity": rule}]).requirements_for(IMAGE)
    assert [one.paths for one in found if isinstance(one, SignedBy)] == [
        ("/keys/a.asc",),
        ("/a", "/b"),
        (),
    ]
    assert isinstance(found[0], SignedBy)
    assert found[0].rule.kind is IdentityKind.MATCH_REPO_DIGEST_OR_EXACT
    assert isinstance(found[2], SignedBy)
    assert (found[2].data, found[2].rule.kind) == (b"key", IdentityKind.EXACT_REPOSITORY)


@pytest.mark.parametrize(
    "requirement",
    [
        {"type": "sigstoreSigned", "keyPath": "/cosign.pub"},
        {"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}},
        {**SIGNED, "keyType": "X509Certificates"},
    ],
)
def test_what_cannot_be_judged_is_refused_where_it_holds(requirement: dict[str, Any]) -> None:
    elsewhere = policy([ACCEPT], docker={"other.example": [requirement]})
    assert elsewhere.requirements_for(IMAGE) == (Blanket.ACCEPT,)
    with refused("requirement-unsupported"):
        policy([SIGNED, requirement]).requirements_for(IMAGE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b'{"default": []}',
        b'{"default": {}}',
        b'{"default": [{}]}',
        b'{"default": [5]}',
        b'{"default": [{"type": "acceptAnything"}]}',
        b'{"default": [{"type": ["reject"]}]}',
        b'{"default": [{"type": "reject", "more": 1}]}',
        b'{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}',
        b'{"default": [{"type": "reject"}], "transport": {}}',
        b'{"default": [{"type": "reject"}], "transports": []}',
        b'{"default": [{"type": "reject"}], "transports": {"docker": []}}',
        b'{"default": [{"type": "reject"}], "transports": {"docker": {"": []}}}',
        b'{"default": [{"type": "reject"}], "transports": {"dir": {"": [{"type": "x"}]}}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_malformed_policy_is_refused_whole(content: bytes) -> None:
    with refused("input-malformed"):
        TrustPolicy.parse(content)


@pytest.mark.parametrize(
    "change",
    [
        {"keyPath": ""},
        {"keyPath": None},
        {"keyPath": 5},
        {"keyPaths": ["/b"]},
        {"keyPath": None, "keyPaths": []},
        {"keyPath": None, "keyPaths": ["/a", ""]},
        {"keyPath": None, "keyPaths": "/a"},
        {"keyPath": None, "keyData": "!"},
        {"keyPath": None, "keyData": 5},
        {"keyType": "GPG"},
        {"keyType": None},
        {"signedIdentity": None},
        {"signedIdentity": {"type": "matchNothing"}},
        {"keypath": "/b"},
    ],
)
def test_malformed_signed_by_is_refused(change: dict[str, Any]) -> None:
    with refused("input-malformed"):
        policy([{**SIGNED, **change}])


def test_base64_in_lines_and_scopes_in_both_cases_are_read() -> None:
    text = base64.b64encode(bytes(100)).decode()
    data = {"type": "signedBy", "keyType": "GPGKeys", "keyData": f"{text[:76]}\r\n{text[76:]}\n"}
    scopes = {"r.example/app:v1": [data], "r.example/app:V1": [REJECT]}
    found = policy([REJECT], docker=scopes)
    (wanted,) = found.requirements_for(ImageReference.parse("r.example/app:v1"))
    assert isinstance(wanted, SignedBy)
    assert wanted.data == bytes(100)
    upper = ImageReference.parse("r.example/app:V1")
    assert found.requirements_for(upper) == (Blanket.REJECT,)


@pytest.mark.parametrize("transports", [None, [], "docker"])
def test_transports_are_an_object(transports: Any) -> None:
    with refused("input-malformed"):
        TrustPolicy.parse(json.dumps({"default": [ACCEPT], "transports": transports}).encode())
