# SPDX-License-Identifier: Apache-2.0
"""Signing, complete: every name, the platforms that are wanted, the digest that was meant."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from tests.conftest import Bench, SigningKey

pytestmark = pytest.mark.once


def skopeo_accepts(bench: Bench, key: SigningKey, name: str, identity: str) -> bool:
    """What skopeo says to a policy that wants exactly this name."""
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    public = bench.folder / "public.asc"
    public.write_bytes(base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"]))
    rule = {
        **{"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)},
        "signedIdentity": {"type": "exactReference", "dockerReference": identity},
    }
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [rule]}))
    try:
        bench.skopeo(
            "--policy", str(policy), "copy", f"docker://{name}", f"dir:{bench.folder}/copy"
        )
    except AssertionError as error:
        assert "is not accepted" in str(error)
        return False
    return True


def test_image_is_signed_under_every_name_that_it_is_pulled_by(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    public = "us.icr.io/team/app:1.0"
    run = ("sign-image", name, "--key", key.location, "--sign-identity", public, "--both-hosts")
    bench.imgsec(*run).expect(2, "invalid-option")  # the registry of its own name has no other host
    assert bench.signatures(name, digest) == []
    run = run[:-1]
    signed = bench.imgsec(*run).expect(0).json["images"][0]["signature"]
    assert signed["identities"] == [name, public]
    assert len(bench.signatures(name, digest)) == 2
    for identity in (name, public):
        assert skopeo_accepts(bench, key, name, identity)
    assert not skopeo_accepts(bench, key, name, "us.icr.io/team/app:2.0")
    again = bench.imgsec(*run).expect(0).json["images"][0]["signature"]
    assert (again["new"], len(bench.signatures(name, digest))) == (False, 2)


def test_digest_gets_the_names_that_are_given_with_both_hosts_of_icr(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    bench.imgsec("sign-image", by_digest, "--key", key.location).expect(2, "tag-required")
    run = ("sign-image", by_digest, "--key", key.location, "--both-hosts")
    done = bench.imgsec(*run, "--sign-identity", "private.us.icr.io/team/app:1").expect(0)
    assert done.json["images"][0]["signature"]["identities"] == [
        "private.us.icr.io/team/app:1",
        "us.icr.io/team/app:1",
    ]
    assert skopeo_accepts(bench, key, name, "us.icr.io/team/app:1")


def test_only_the_digest_that_was_meant_is_signed(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    run = ("sign-image", name, "--key", key.location, "--expect-digest")
    other = "sha256:" + "1a" * 32
    bench.imgsec(*run, other).expect(1, "digest-drift")
    assert bench.signatures(name, digest) == []
    bench.imgsec(*run, digest).expect(0)
    bench.imgsec("sign-image", f"{name}@{digest}", *run[2:], other).expect(2, "invalid-option")
    bench.imgsec("sign-image", name, *run[1:], digest).expect(2, "invalid-option")


def test_platforms_of_an_index_can_be_chosen(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    run = ("sign-image", name, "--key", key.location, "--platform")
    bench.imgsec(*run, "linux/s390x").expect(1, "platform-missing")
    assert bench.signatures(name, digest) == []
    signed = bench.imgsec(*run, "linux/arm64").expect(0).json["images"][0]["signature"]
    assert len(signed["digests"]) == 2
    every = bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert every.json["images"][0]["signature"]["new"] is True
    assert len(every.json["images"][0]["signature"]["digests"]) == 3
    assert len(bench.signatures(name, digest)) == 1
