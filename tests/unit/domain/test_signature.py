# SPDX-License-Identifier: Apache-2.0
"""The payload that is signed: how strictly it is read, and which images it speaks of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgsec.domain.reference import ImageReference
from imgsec.domain.signature import PAYLOAD_MAX_BYTES, SimpleSigningPayload
from tests.unit.refusals import refused

DIGEST = "sha256:" + "1a" * 32
OTHER = "sha256:" + "2b" * 32


def document(**optional: Any) -> dict[str, Any]:
    return {
        "critical": {
            "type": "atomic container signature",
            "image": {"docker-manifest-digest": DIGEST},
            "identity": {"docker-reference": "r.example/team/app:1"},
        },
        "optional": optional,
    }


def changed(path: str, value: Any) -> bytes:
    content = document()
    *parents, last = path.split("/")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    return json.dumps(content).encode()


def test_payload_as_skopeo_writes_it_is_read() -> None:
    content = json.dumps(document(creator="atomic 5.24.1", timestamp=1767225600)).encode()
    payload = SimpleSigningPayload.parse(content)
    assert payload.identity == "r.example/team/app:1"
    assert str(payload.digest) == DIGEST
    assert (payload.creator, payload.timestamp) == ("atomic 5.24.1", 1767225600)


def test_unknown_optional_members_are_let_through() -> None:
    payload = SimpleSigningPayload.parse(json.dumps(document(build="x", nested={})).encode())
    assert payload.creator is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="no members"),
        pytest.param(json.dumps(document()).encode() + b"{}", id="trailing document"),
        pytest.param(json.dumps(document()).encode() + b"\0", id="trailing byte"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(document()).encode(), id="byte order mark"),
        pytest.param(json.dumps(document()).encode("utf-16"), id="UTF-16"),
        pytest.param(json.dumps(document()).encode() + b"\xff", id="not UTF-8"),
        pytest.param(json.dumps(document(x=float("nan"))).encode(), id="NaN"),
        pytest.param(json.dumps(document(x=float("inf"))).encode(), id="Infinity"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep lists"),
        pytest.param(b'{"critical":' * 10_000 + b"1" + b"}" * 10_000, id="deep objects"),
        pytest.param(b'{"optional":{},' + json.dumps(document()).encode()[1:], id="optional twice"),
        pytest.param(
            json.dumps(document())
            .replace(
                '{"docker-reference"', '{"docker-reference":"r.example/x:1","docker-reference"'
            )
            .encode(),
            id="identity twice",
        ),
        pytest.param(json.dumps(document(a=0)).replace('"a"', '"a":1,"a"').encode(), id="a twice"),
        pytest.param(b" " * PAYLOAD_MAX_BYTES + json.dumps(document()).encode(), id="too large"),
        pytest.param(changed("critical/type", "cosign container image signature"), id="type"),
        pytest.param(changed("critical/type", None), id="type null"),
        pytest.param(changed("critical/more", 1), id="unknown critical"),
        pytest.param(changed("critical/image/more", 1), id="unknown in image"),
        pytest.param(changed("critical/identity/more", 1), id="unknown in identity"),
        pytest.param(changed("more", {}), id="unknown at the top"),
        pytest.param(changed("critical", []), id="critical list"),
        pytest.param(changed("critical/image", "x"), id="image text"),
        pytest.param(changed("critical/image", {}), id="image empty"),
        pytest.param(changed("critical/identity/docker-reference", 1), id="identity number"),
        pytest.param(changed("critical/identity/docker-reference", None), id="identity null"),
        pytest.param(changed("critical/image/docker-manifest-digest", "sha256:x"), id="digest"),
        pytest.param(changed("critical/image/docker-manifest-digest", [DIGEST]), id="digest list"),
        pytest.param(changed("optional", None), id="optional null"),
        pytest.param(changed("optional", []), id="optional list"),
        pytest.param(changed("optional", {"creator": 1}), id="creator number"),
        pytest.param(changed("optional", {"timestamp": True}), id="timestamp bool"),
        pytest.param(changed("optional", {"timestamp": "1"}), id="timestamp text"),
        pytest.param(changed("optional", {"timestamp": 1.5}), id="timestamp fraction"),
        pytest.param(changed("optional", {"timestamp": 1e400}), id="timestamp infinite"),
        pytest.param(b'{"x":' + b"9" * 5000 + b"}", id="very long number"),
    ],
)
def test_payload_that_two_readers_could_read_differently_is_refused(content: bytes) -> None:
    with refused("payload-malformed"):
        SimpleSigningPayload.parse(content)


def test_every_member_is_needed() -> None:
    for path in ("critical", "optional"):
        content = document()
        del content[path]
        with refused("payload-malformed"):
            SimpleSigningPayload.parse(json.dumps(content).encode())
    for name in ("type", "image", "identity"):
        content = document()
        del content["critical"][name]
        with refused("payload-malformed"):
            SimpleSigningPayload.parse(json.dumps(content).encode())


# Portieris's default rule, matchRepoDigestOrExact, as its own OpenPGP build answered; the rows
# without a note are measured, the others follow from containers/image, policy_reference_match.go.
_APP = "r.example/team/app"


@pytest.mark.parametrize(
    ("signed_as", "used", "accepted"),
    [
        (f"{_APP}:1", f"{_APP}:1@{DIGEST}", True),
        (f"{_APP}:1", f"{_APP}@{DIGEST}", True),
        (f"{_APP}:1", f"{_APP}:2@{DIGEST}", False),
        (f"{_APP}@{DIGEST}", f"{_APP}:1@{DIGEST}", False),
        (f"{_APP}@{DIGEST}", f"{_APP}@{DIGEST}", True),
        (f"{_APP}@{OTHER}", f"{_APP}@{DIGEST}", True),  # only repositories are compared
        (f"{_APP}:1@{DIGEST}", f"{_APP}:1@{DIGEST}", False),
        (f"{_APP}:1", f"{_APP}-two@{DIGEST}", False),
        (f"{_APP}:1", f"r.example/team@{DIGEST}", False),
        (f"{_APP}:1", f"r.example:443/team/app:1@{DIGEST}", False),
        (f"{_APP}:1", f"s.example/team/app:1@{DIGEST}", False),
        (_APP, f"{_APP}@{DIGEST}", False),  # a bare name is none
        (_APP, f"{_APP}:latest@{DIGEST}", False),
        ("icr.io/orig/app:v1", f"r.example/mirror/app:v1@{DIGEST}", False),
        ("app:1", f"docker.io/library/app:1@{DIGEST}", True),  # as all consumers read it
        ("R.example/team/app:1", f"{_APP}:1@{DIGEST}", False),
        (f"{_APP}:1\n", f"{_APP}:1@{DIGEST}", False),
        ("", f"{_APP}:1@{DIGEST}", False),
    ],
)
def test_identity_rule(signed_as: str, used: str, accepted: bool) -> None:
    payload = SimpleSigningPayload.parse(changed("critical/identity/docker-reference", signed_as))
    found = [flaw.code for flaw in payload.flaws(ImageReference.parse(used))]
    assert found == ([] if accepted else ["identity-mismatch"])


def test_payload_of_another_digest_is_named_as_that() -> None:
    payload = SimpleSigningPayload.parse(json.dumps(document()).encode())
    flaws = payload.flaws(ImageReference.parse(f"{_APP}:1@{OTHER}"))
    assert [flaw.code for flaw in flaws] == ["digest-mismatch"]
    assert DIGEST in flaws[0].text


def test_hostile_identity_is_shown_in_one_line() -> None:
    hostile = "r.example/app:1\n::error::pwned \ud800"
    payload = SimpleSigningPayload.parse(changed("critical/identity/docker-reference", hostile))
    text = payload.flaws(ImageReference.parse(f"{_APP}:1@{DIGEST}"))[0].text
    assert text.isprintable()
    assert text.encode()
