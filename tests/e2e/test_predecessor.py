# SPDX-License-Identifier: Apache-2.0
"""From the older shell script to set-up: what it left is found, and taken over only when asked.

The older script's weaknesses are told by letter and number where a test stands against one:
``setup-image-signing-keys.sh`` of ibm-garage-tekton-tasks, read step by step.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Bench
from tests.support import Gpg

pytestmark = pytest.mark.once

PRIVATE, PUBLIC = "portieris-image-signing-private-key", "portieris-image-signing-public-key"


@pytest.fixture
def ring(bench: Bench) -> Iterator[str]:
    """A key ring of one's own; what is left in it would stop every other set-up."""
    ring = bench.new_ring()
    yield ring
    bench.empty_ring(ring)


def older_key(gpg: Gpg, *, encrypts: bool = True) -> str:
    """As gpg's dialogue made it: RSA, no end date, an encryption subkey (S13)."""
    fingerprint = gpg.make_key("Operator <operator@example.com>")
    if encrypts:
        gpg.run("--quick-add-key", fingerprint, "rsa2048", "encr")
    return fingerprint


def words(bench: Bench, alias: str, ring: str, out: Path) -> tuple[str, ...]:
    return (
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--kms-key-ring", ring, "--render", str(out)),
    )


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("armour", [False, True])
def test_older_key_is_found_adopted_and_signs(
    bench: Bench, gpg: Gpg, ring: str, layers: int, armour: bool
) -> None:
    fingerprint = older_key(gpg)
    secret = gpg.secret(fingerprint, armour=armour)
    for _ in range(layers):
        secret = base64.encodebytes(secret)  # with the line ends that GNU base64 puts in (S1)
    key_id = bench.store(PRIVATE, secret, ring=ring)
    bench.store(PUBLIC, gpg.public(fingerprint), ring=ring)
    alias, out = bench.alias(), bench.folder / "out"
    run = words(bench, alias, ring, out)

    refused = bench.imgsec(*run).expect(1, "existing-key-found")  # S4: no second pair of keys
    assert key_id in refused.json["reasons"][0]["text"]
    assert bench.keys(alias) == {}
    assert not out.exists()
    listed = bench.imgsec("keys", "list", "--kms-key-ring", ring).expect(0)
    told = [note["text"] for note in listed.json["notes"] if note["code"] == "older-key"]
    assert key_id in told[0]

    adopted = bench.imgsec(*run, "--adopt").expect(0)
    assert adopted.json["key"]["keyId"] == key_id
    assert adopted.json["key"]["fingerprint"] == fingerprint
    assert adopted.json["changes"][0] == {"target": f"kms://{alias}", "state": "adopted"}
    again = bench.imgsec(*run).expect(0)
    assert "nothing-to-do" in [note["code"] for note in again.json["notes"]]
    assert again.json["key"] == adopted.json["key"]

    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}").expect(0)
    bench.imgsec("verify-image", name, "--key", f"kms://{alias}").expect(0)


def test_key_whose_fingerprint_differs_is_not_adopted(bench: Bench, gpg: Gpg, ring: str) -> None:
    bench.store(PRIVATE, gpg.secret(older_key(gpg)), ring=ring)
    alias = bench.alias()
    run = words(bench, alias, ring, bench.folder / "out")
    bench.imgsec(*run, "--adopt").expect(2, "invalid-option")  # nothing vouches for it
    bench.imgsec(*run, "--adopt", "--fingerprint", "AB" * 20).expect(1, "key-fingerprint-mismatch")
    assert bench.keys(alias) == {}


def test_older_key_with_a_passphrase_is_adopted_with_it(bench: Bench, gpg: Gpg, ring: str) -> None:
    """S7: the older script let a passphrase be chosen that its release task could not give."""
    protect = ("--passphrase", "chosen in a dialogue")
    gpg.run(*protect, "--quick-generate-key", "Operator", "rsa2048", "sign", "0")
    fingerprint = gpg.fingerprint("Operator")
    bench.store(PRIVATE, gpg.run(*protect, "--export-secret-keys", fingerprint), ring=ring)
    run = (*words(bench, bench.alias(), ring, bench.folder / "out"), "--adopt")
    run = (*run, "--fingerprint", fingerprint)
    bench.imgsec(*run).expect(1, "key-unusable")
    file = bench.folder / "passphrase"
    file.write_text("chosen in a dialogue\n")
    bench.imgsec(*run, "--passphrase-file", file).expect(0)


@pytest.mark.parametrize("key_id", ["null", "", "0a1b2c3d-1234-4abc-8def-0123456789ab"])
def test_secret_that_names_no_key_is_told_before_a_key_is_made(bench: Bench, key_id: str) -> None:
    """S2, S3: a refused create left ``null`` in the Secret, and success on the terminal."""
    out, alias = bench.folder / "out", bench.alias()
    out.mkdir()
    values = {
        "vault-url": bench.sandbox.identity.url("kms"),
        "vault-instance-id": bench.sandbox.identity.kms_instance,
        "vault-key-id": key_id,
        "portieris-signature-fingerprint": "AB" * 20,
    }
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "portieris-keys", "namespace": "portieris"},
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in values.items()},
    }
    (out / "portieris-keys.secret.yaml").write_text(json.dumps(document))
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    bench.imgsec(*run, "--render", out).expect(1, "key-conflict")
    bench.imgsec(*run, "--render", out, "--adopt").expect(1, "key-conflict")
    assert bench.keys(alias) == {}


def test_what_set_up_makes_has_none_of_the_older_policys_faults(bench: Bench) -> None:
    out, alias = bench.folder / "out", bench.alias()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    done = bench.imgsec(*run, "--render", out).expect(0)
    documents = {path.name: yaml.safe_load(path.read_text()) for path in out.iterdir()}
    policy = documents["imgsec-signed-images.clusterimagepolicy.yaml"]
    # S10: not the name of a policy that older charts installed, which an apply would overwrite.
    assert policy["metadata"]["name"] != "portieris-default-cluster-image-policy"
    rules = policy["spec"]["repositories"]
    assert [rule["name"] for rule in rules] == ["us.icr.io/team/*"]  # S11: no placeholder
    requirement = rules[0]["policy"]["simple"]["requirements"][0]
    assert requirement["keySecretNamespace"] == "portieris"  # S9: else looked for beside each pod
    # S12: no line end inside a value, however long.
    data = documents["portieris-keys.secret.yaml"]["data"]
    assert all("\n" not in value for value in data.values())
    key_id = base64.b64decode(data["vault-key-id"]).decode()
    assert key_id == done.json["key"]["keyId"]
    assert done.json["key"]["expires"] is not None  # S13


def test_repositories_are_required(bench: Bench) -> None:
    """S11, S14: no placeholder stands in, and no login to a cluster is needed to render."""
    run = ("setup-signing-keys", "--alias", bench.alias(), "--render", bench.folder / "out")
    bench.imgsec(*run).expect(2, "invalid-option")


def test_given_key_is_stored_as_it_is(bench: Bench, gpg: Gpg) -> None:
    fingerprint = gpg.make_key("release")
    file, alias = bench.folder / "key", bench.alias()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    run = (*run, "--render", str(bench.folder / "out"), "--import-key", str(file))
    bench.imgsec(*run).expect(2, "input-unreadable")
    file.write_bytes(b"no key")
    bench.imgsec(*run).expect(3, "key-malformed")
    file.write_bytes(gpg.secret(fingerprint, armour=True))
    bench.imgsec(*run, "--fingerprint", "AB" * 20).expect(1, "key-fingerprint-mismatch")
    assert bench.keys(alias) == {}
    done = bench.imgsec(*run, "--fingerprint", fingerprint).expect(0)
    assert done.json["key"]["fingerprint"] == fingerprint
    assert bench.keys(alias)[alias] == gpg.secret(fingerprint)
    again = bench.imgsec(*run).expect(0)
    assert "nothing-to-do" in [note["code"] for note in again.json["notes"]]
    file.write_bytes(gpg.secret(gpg.make_key("another")))
    bench.imgsec(*run).expect(1, "key-conflict")
    other = bench.imgsec(*run[:-2], "--algorithm", "nistp384").expect(0)
    told = [note["text"] for note in other.json["notes"] if note["code"] == "of-a-new-key-only"]
    assert "nistp384" in told[0]


@pytest.mark.parametrize("algorithm", ["rsa3072", "nistp256", "nistp521"])
def test_key_of_another_algorithm_is_made_and_signs(bench: Bench, algorithm: str) -> None:
    alias = bench.alias()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    run = (*run, "--render", str(bench.folder / "out"), "--algorithm", algorithm)
    assert bench.imgsec(*run).expect(0).json["key"]["algorithm"] == algorithm
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}").expect(0)


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa1024", "dsa2048", "rsa", "", "rsa4096\n%x"])
def test_algorithm_that_portieris_cannot_read_is_not_made(bench: Bench, algorithm: str) -> None:
    run = ("setup-signing-keys", "--alias", bench.alias(), "--repository", "us.icr.io/team/*")
    run = (*run, "--render", str(bench.folder / "out"), "--algorithm", algorithm)
    bench.imgsec(*run).expect(2, "invalid-option")


def test_language_of_whoever_runs_it_changes_nothing(bench: Bench, gpg: Gpg) -> None:
    """Fingerprints were read off what gpg says to people (S8)."""
    tools, seen = bench.folder / "tools", bench.folder / "seen"
    tools.mkdir()
    for name in ("gpg", "gpgv"):
        script = tools / name
        script.write_text(
            f"#!/bin/sh\n/usr/bin/env >> '{seen}'\n"
            "printf 'gpg: Schl\\303\\274ssel 0123456789ABCDEF, vom 1. M\\344rz\\n' >&2\n"
            f'exec {shutil.which(name)} "$@"\n'
        )
        script.chmod(0o755)
    german = {
        **dict.fromkeys(("LC_ALL", "LC_MESSAGES", "LANG"), "de_DE.UTF-8"),
        **{"LANGUAGE": "de", "IMGSEC_TOOLS_DIR": str(tools)},
    }
    fingerprint = gpg.make_key("Operator <operator@example.com>")
    given = bench.folder / "given.key"
    given.write_bytes(gpg.secret(fingerprint))
    alias = bench.alias()
    made = bench.imgsec(
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--import-key", given, "--fingerprint", fingerprint, "--render", bench.folder / "out"),
        env=german,
    ).expect(0)
    assert made.json["key"]["fingerprint"] == fingerprint
    name, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}", env=german).expect(0)
    found = bench.imgsec("verify-image", f"{name}@{digest}", "--key", f"kms://{alias}", env=german)
    assert found.expect(0).json["images"][0]["signature"]["signer"] == fingerprint
    surroundings = seen.read_text(errors="replace").splitlines()
    languages = {line for line in surroundings if line.startswith(("LC_", "LANG"))}
    assert languages == {"LC_ALL=C.UTF-8"}
