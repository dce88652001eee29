# SPDX-License-Identifier: Apache-2.0
"""Verifying as each consumer does: what it looks at, which policy it has, and with no registry."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench, SigningKey

pytestmark = pytest.mark.once


def answers(report: dict[str, Any]) -> dict[str, str]:
    """Each consumer's answer to the only image."""
    (image,) = report["images"]
    return {one["verifier"]: one["outcome"] for one in image["verifiers"]}


@pytest.fixture
def public(bench: Bench, key: SigningKey) -> Path:
    """The public key in a file."""
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    path = bench.folder / "public.asc"
    path.write_bytes(base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"]))
    return path


def test_every_consumer_accepts_what_was_signed(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    done = bench.imgsec("verify-image", name, "--key", key.location).expect(0)
    assert answers(done.json) == dict.fromkeys(("strict", "portieris", "podman"), "pass")
    assert done.json["images"][0]["digest"] == digest
    assert "portieris" not in done.stderr  # they agree


def test_consumers_look_at_different_manifests(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    bench.imgsec("sign-image", name, "--key", key.location, "--platform", "linux/arm64").expect(0)
    verify = ("verify-image", name, "--key", key.location)
    done = bench.imgsec(*verify).expect(1, "signature-missing")
    expected = {"strict": "refused", "portieris": "pass", "podman": "refused"}
    assert answers(done.json) == expected
    assert "  portieris: pass\n  podman: refused (signature-missing)\n" in done.stderr
    alone = bench.imgsec(*verify, "--as", "portieris").expect(0)
    assert answers(alone.json) == {"portieris": "pass"}
    assert "one-consumer" in [note["code"] for note in alone.json["notes"]]
    bench.imgsec(*verify, "--as", "podman").expect(1, "signature-missing")
    on_arm = bench.imgsec(*verify, "--platform", "linux/arm64").expect(0)
    assert "some-platforms" in [note["code"] for note in on_arm.json["notes"]]
    bench.imgsec(*verify, "--platform", "linux/s390x").expect(1, "platform-missing")
    bench.imgsec(*verify, "--as", "docker").expect(2, "invalid-option")


# --- A policy -------------------------------------------------------------------------------------


ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}


def test_policy_is_read_as_skopeo_reads_it(bench: Bench, key: SigningKey, public: Path) -> None:
    repository = bench.repository()
    name, _ = bench.push(repository)
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    registry = bench.sandbox.registry
    signed = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)}
    other = {"type": "exactRepository", "dockerRepository": "o.example/app"}
    mapped = {"type": "remapIdentity", "prefix": registry, "signedPrefix": "o.example"}
    data = {"keyData": base64.b64encode(public.read_bytes()).decode()}
    embedded = {"type": "signedBy", "keyType": "GPGKeys", **data}
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"default": [signed]}, True),
        ({"default": [embedded]}, True),
        ({"default": [signed, REJECT]}, False),
        ({"default": [REJECT], "transports": {"docker": {registry: [signed]}}}, True),
        ({"default": [ACCEPT], "transports": {"docker": {f"{registry}/x": [REJECT]}}}, True),
        ({"default": [ACCEPT], "transports": {"docker": {name: [REJECT], "": [ACCEPT]}}}, False),
        ({"default": [ACCEPT], "transports": {"docker": {"": [REJECT]}}}, False),
        ({"default": [{**signed, "signedIdentity": {"type": "matchRepository"}}]}, True),
        ({"default": [{**signed, "signedIdentity": other}]}, False),
        ({"default": [{**signed, "signedIdentity": mapped}]}, False),
        ({"default": [signed, {**signed, "signedIdentity": other}]}, False),
    ]
    policy = bench.folder / "policy.json"
    for document, accepted in cases:
        policy.write_text(json.dumps(document))
        assert bench.skopeo_takes(name, document) is accepted, document
        run = ("verify-image", name, "--policy", str(policy), "--as", "podman")
        assert bench.imgsec(*run).code == (0 if accepted else 1), document


def test_policy_that_checks_nothing_passes_for_nobody_strict(bench: Bench) -> None:
    name, _ = bench.push(bench.repository())
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [ACCEPT]}))
    run = ("verify-image", name, "--policy", str(policy))
    done = bench.imgsec(*run).expect(3, "nothing-checked")
    assert answers(done.json) == {"strict": "undecided", "portieris": "pass", "podman": "pass"}
    done = bench.imgsec(*run, "--as", "podman").expect(0)
    assert done.json["images"][0]["notes"][0]["code"] == "unchecked"
    assert "signature" not in done.json["images"][0]


def test_requirement_that_cannot_be_judged_is_named(bench: Bench) -> None:
    name, _ = bench.push(bench.repository())
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "sigstoreSigned", "keyPath": "/x"}]}))
    done = bench.imgsec("verify-image", name, "--policy", str(policy))
    done.expect(3, "requirement-unsupported")
    assert "sigstoreSigned" in done.stderr


def test_question_is_asked_in_one_way(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [REJECT]}))
    both = ("--key", key.location, "--policy", str(policy))
    bench.imgsec("verify-image", name).expect(2, "invalid-option")
    bench.imgsec("verify-image", name, *both).expect(2, "invalid-option")
    pinned = ("--policy", str(policy), "--fingerprint", "AB" * 20)
    bench.imgsec("verify-image", name, *pinned).expect(2, "invalid-option")
    bench.imgsec("verify-image", name, "--policy", "/nonexistent").expect(2, "input-unreadable")


# --- No registry ----------------------------------------------------------------------------------


def test_copied_image_is_verified_offline(bench: Bench, key: SigningKey, public: Path) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    copied = bench.folder / "app"
    bench.skopeo("copy", "--all", "--insecure-policy", f"docker://{name}", f"dir:{copied}")
    bench.fault("registry", "refuse")
    run = ("verify-image", name, "--key", f"file:{public}", "--image-dir", str(copied))
    done = bench.imgsec(*run).expect(0)
    assert done.json["images"][0]["digest"] == digest
    assert answers(done.json) == dict.fromkeys(("strict", "portieris", "podman"), "pass")
    bench.imgsec(*run, "--platform", "linux/arm64").expect(0)
    bench.imgsec(*run, "--lookaside", str(bench.folder)).expect(2, "invalid-option")
    other = f"{name.rpartition(':')[0]}@sha256:{'1a' * 32}"
    bench.imgsec("verify-image", other, *run[2:]).expect(1, "digest-mismatch")
    bench.imgsec("verify-image", f"{name}2", *run[2:]).expect(1, "identity-mismatch")
    child = next(copied.glob("*.signature-1"))
    child.unlink()
    done = bench.imgsec(*run).expect(1, "signature-missing")
    assert answers(done.json)["portieris"] == "pass"
    (copied / "signature-1").write_bytes(b"junk")
    done = bench.imgsec(*run, "--as", "portieris").expect(3, "answer-malformed")
    (copied / "manifest.json").write_text("{}")
    bench.imgsec(*run).expect(3, "answer-malformed")
    bench.imgsec(*run[:-1], "/nonexistent").expect(3, "image-not-found")


def test_folder_that_cannot_be_read_is_no_unsigned_image(
    bench: Bench, key: SigningKey, public: Path
) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    copied = bench.folder / "odd"
    bench.skopeo("copy", "--insecure-policy", f"docker://{name}", f"dir:{copied}")
    run = ("verify-image", name, "--key", f"file:{public}", "--image-dir")
    bench.imgsec(*run, str(copied)).expect(0)
    signature = copied / "signature-1"
    content = signature.read_bytes()
    signature.unlink()
    signature.mkdir()
    bench.imgsec(*run, str(copied)).expect(2, "input-unreadable")
    signature.rmdir()
    os.mkfifo(signature)
    bench.imgsec(*run, str(copied)).expect(2, "input-unreadable")
    signature.unlink()
    signature.symlink_to(signature)
    bench.imgsec(*run, str(copied)).expect(2, "input-unreadable")
    signature.unlink()
    signature.write_bytes(content)
    bench.imgsec(*run, "/x" * 3000).expect(2, "input-unreadable")


def test_policy_that_is_named_goes_before_an_older_pipelines_key(
    bench: Bench, key: SigningKey
) -> None:
    name, _ = bench.push(bench.repository())
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [REJECT]}))
    older = {"VAULT_KEY_ID": key.location, "SIGNATURE_FINGERPRINT": "AB" * 20}
    run = ("verify-image", name, "--policy", str(policy))
    bench.imgsec(*run, env=older).expect(1, "policy-rejects")
    bench.imgsec(*run, "--key", "kms://other", env=older).expect(2, "invalid-option")


def test_text_before_the_key_is_tolerated(bench: Bench, key: SigningKey, public: Path) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    told = bench.folder / "told.asc"
    told.write_bytes(b"The key of the release team.\n\n" + public.read_bytes())
    bench.imgsec("verify-image", name, "--key", f"file:{told}").expect(0)
