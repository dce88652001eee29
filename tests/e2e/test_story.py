# SPDX-License-Identifier: Apache-2.0
"""The story through the command line: set up, resolve, gate, sign, verify, publish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import Bench, SigningKey, traces_in


def test_second_set_up_changes_nothing_and_says_so(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    first = bench.imgsec(*words, "--render", out).expect(0)
    kept = {path: path.read_bytes() for path in out.iterdir()}
    stored = bench.keys(alias)
    assert {change["state"] for change in first.json["changes"]} == {"created"}
    assert set(stored) == {alias, f"{alias}-public", f"{alias}-revocation"}
    assert sorted(path.name for path in kept) == [
        "imgsec-signed-images.clusterimagepolicy.yaml",
        "portieris-image-signing-public-key.secret.yaml",
        "portieris-keys.secret.yaml",
    ]

    second = bench.imgsec(*words, "--render", out).expect(0)
    assert {change["state"] for change in second.json["changes"]} == {"unchanged"}
    assert "nothing-to-do" in [note["code"] for note in second.json["notes"]]
    assert second.json["key"] == first.json["key"]
    assert {path: path.read_bytes() for path in out.iterdir()} == kept
    assert bench.keys(alias) == stored
    assert bench.leftovers() == []


def test_set_up_lets_a_tag_through_as_that_alone_and_tells_what_engines_do(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    done = bench.imgsec(*words, "--allow-unchecked", "icr.io/x/y:1", "--render", out).expect(0)
    assert "any-digest" in [note["code"] for note in done.json["notes"]]
    policy = yaml.safe_load((out / "imgsec-signed-images.clusterimagepolicy.yaml").read_text())
    names = [rule["name"] for rule in policy["spec"]["repositories"]]
    assert names == ["us.icr.io/team/*", "icr.io/x/y:1"]


def test_image_is_resolved_gated_signed_and_verified(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    canonical = f"{name.rpartition(':')[0]}@{digest}"

    resolved = bench.imgsec("resolve", name).expect(0).json["images"][0]
    assert (resolved["digest"], resolved["resolved"]["platforms"]) == (digest, ["linux/amd64"])

    assert bench.imgsec("verify-image", name, "--key", key.location).expect(1, "signature-missing")
    gated = bench.imgsec("scan-gate", f"{name}@{digest}").expect(0)
    assert gated.json["images"][0]["canonical"] == canonical

    signed = bench.imgsec("sign-image", f"{name}@{digest}", "--key", key.location).expect(0)
    assert signed.json["images"][0]["signature"] == {
        "signer": key.fingerprint,
        "identity": name,
        "identities": [name],
        "new": True,
        "pushed": False,
        "digests": [digest],
    }
    assert len(bench.signatures(name, digest)) == 1

    again = bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert again.json["images"][0]["signature"]["new"] is False
    assert len(bench.signatures(name, digest)) == 1

    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    armoured = bench.folder / "public.asc"
    armoured.write_text(_public_key(secret))
    for location in (
        key.location,
        f"{key.location}-public",
        f"file:{armoured}",
        f"secret:{secret}",
    ):
        names = (name, f"{name}@{digest}", canonical)
        verified = bench.imgsec("verify-image", *names, "--key", location).expect(0).json
        assert {image["canonical"] for image in verified["images"]} == {canonical}
        signers = {image["signature"]["signer"] for image in verified["images"]}
        assert signers == {key.fingerprint}
    assert bench.leftovers() == []
    assert bench.processes() == []


def _public_key(secret: Path) -> str:
    import base64

    return base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"]).decode()


def test_skopeo_itself_accepts_the_signature(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    armoured = bench.folder / "public.asc"
    armoured.write_text(_public_key(key.folder / "portieris-image-signing-public-key.secret.yaml"))
    rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(armoured)}
    policy = bench.folder / "policy.json"
    policy.write_text(json.dumps({"default": [rule]}))
    bench.skopeo("--policy", str(policy), "copy", f"docker://{name}", f"dir:{bench.folder}/copy")


def test_index_is_signed_with_every_image_in_it(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    resolved = bench.imgsec("resolve", name).expect(0).json["images"][0]["resolved"]
    assert resolved == {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "index": True,
        "platforms": ["linux/amd64", "linux/arm64"],
    }
    signed = bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    digests = signed.json["images"][0]["signature"]["digests"]
    assert digests[0] == digest
    assert len(digests) == 3
    repository = name.rpartition(":")[0]
    every = [f"{repository}@{one}" for one in digests]
    bench.imgsec("verify-image", *every, "--key", key.location).expect(0)
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert [len(bench.signatures(name, one)) for one in digests] == [1, 1, 1]


def test_vulnerable_image_is_refused_with_its_fixes(bench: Bench) -> None:
    name, _ = bench.push("vulnerable-" + bench.repository())
    done = bench.imgsec("scan-gate", name).expect(1, "finding-in-force")
    (reason,) = done.json["reasons"]
    assert reason["text"].startswith("2 findings are in force: CVE-2026-90001")
    assert reason["hint"].startswith("Upgrade ")


@pytest.mark.once
def test_gate_waits_for_a_scan_that_has_not_finished(bench: Bench) -> None:
    for kind in ("slow-", "late-"):
        name, _ = bench.push(kind + bench.repository())
        done = bench.imgsec("scan-gate", name, "--timeout", "60").expect(0)
        assert "asking again" in done.stderr


def test_tag_that_was_not_signed_is_another_name(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), "1")
    other = f"{name.rpartition(':')[0]}:2"
    bench.skopeo("copy", "--insecure-policy", f"docker://{name}", f"docker://{other}")
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    bench.imgsec("verify-image", other, "--key", key.location).expect(1, "identity-mismatch")
    bench.imgsec("sign-image", other, "--key", key.location).expect(0)
    bench.imgsec("verify-image", other, name, "--key", key.location).expect(0)
    assert len(bench.signatures(name, digest)) == 2


def test_policy_is_rendered_and_left_alone_afterwards(bench: Bench) -> None:
    out = bench.folder / "policies"
    words = ("publish-policy", "--repository", "us.icr.io/team/app", "--render", out)
    first = bench.imgsec(*words, "--allow-unchecked", "icr.io/ibm/*").expect(0)
    assert [note["code"] for note in first.json["notes"]] == ["allowed-unchecked"]
    (path,) = out.iterdir()
    policy = yaml.safe_load(path.read_text())
    assert policy["kind"] == "ClusterImagePolicy"
    assert [rule["name"] for rule in policy["spec"]["repositories"]] == [
        "us.icr.io/team/app",
        "us.icr.io/team/app@*",
        "icr.io/ibm/*",
    ]
    again = bench.imgsec(*words, "--allow-unchecked", "icr.io/ibm/*").expect(0)
    assert [change["state"] for change in again.json["changes"]] == ["unchanged"]
    changed = bench.imgsec(*words).expect(0)
    assert [change["state"] for change in changed.json["changes"]] == ["updated"]


def test_results_reach_the_next_pipeline_step(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    folder = bench.folder
    bench.imgsec(
        *("sign-image", name, "--key", key.location, "--result-digest-file", folder / "digest"),
        *("--result-image-file", folder / "image", "--result-verdict-file", folder / "verdict"),
        *("--result-fingerprint-file", folder / "fingerprint"),
        env={"GITHUB_OUTPUT": str(folder / "gh"), "GITHUB_STEP_SUMMARY": str(folder / "sum")},
    ).expect(0)
    assert (folder / "digest").read_bytes() == digest.encode()  # Tekton keeps a line end
    assert (folder / "image").read_text() == f"{name}@{digest}"
    assert (folder / "verdict").read_text() == "pass"
    assert (folder / "fingerprint").read_text() == key.fingerprint
    assert f"digest={digest}\n" in (folder / "gh").read_text()
    assert (folder / "sum").read_text().startswith("### imgsec sign-image: pass\n")


def test_several_images_are_judged_each_by_itself(bench: Bench, key: SigningKey) -> None:
    signed, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", signed, "--key", key.location).expect(0)
    unsigned, _ = bench.push(bench.repository())
    missing = f"{bench.sandbox.registry}/{bench.repository()}:none"
    verify = ("verify-image", "--key", key.location)
    bench.imgsec(*verify, signed, missing).expect(3, "image-not-found")
    both = bench.imgsec(*verify, signed, missing, unsigned)
    both.expect(1, "image-not-found", "signature-missing")
    assert [part["outcome"] for part in both.json["images"]] == ["pass", "undecided", "refused"]


def test_verifying_never_asks_for_a_secret_payload(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    before = len(bench.log("kms"))
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)
    asked = [entry["path"] for entry in bench.log("kms")[before:]]
    assert asked
    payloads = [path for path in asked if not path.endswith("/metadata")]
    assert payloads == [f"/api/v2/keys/{key.alias}-public"]


def test_verifying_fetches_no_layer(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    before = len(bench.log("registry"))
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)
    asked = [entry["path"] for entry in bench.log("registry")[before:]]
    assert asked
    assert not [path for path in asked if "/blobs/" in path]


def test_key_leaves_no_trace_in_any_file(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    done = bench.imgsec("sign-image", name, "--key", key.location, "-v").expect(0)
    assert traces_in(bench.folder, key) == []
    assert traces_in(bench.private, key) == []
    # The KMS keeps the key: its database is the one place where it may lie.
    assert traces_in(bench.sandbox.folder.root / "logs", key) == []
    assert not [form for form in key.traces() if form in (done.stdout + done.stderr).encode()]
