# SPDX-License-Identifier: Apache-2.0
"""A key is rotated, renewed and revoked under images that run: real gpg, skopeo and registry."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench
from tests.support import Ended

pytestmark = pytest.mark.once

SECRET = "portieris-image-signing-public-key.secret.yaml"
REFERENCE = "portieris-keys.secret.yaml"


@dataclass
class Cluster:
    """What set-up rendered for one key, and the pipelines that use it."""

    bench: Bench
    alias: str
    folder: Path
    first: str

    @property
    def secret(self) -> str:
        return f"secret:{self.folder / SECRET}"

    def keys(self, *words: str | Path, **options: Any) -> Ended:
        return self.bench.imgsec("keys", *words, "--render", self.folder, **options)

    def rotate(self, *words: str | Path) -> Ended:
        return self.keys("rotate", self.alias, "--fingerprint", self.first, *words)

    def stage(self) -> str:
        return str(self.keys("rotate", self.alias, "--status").expect(0).json["rotation"]["stage"])

    def reference(self) -> tuple[str, str]:
        """Key id and fingerprint, as a pipeline reads them from the Secret."""
        data = yaml.safe_load((self.folder / REFERENCE).read_text())["data"]
        words = [
            base64.b64decode(data[name]).decode()
            for name in ("vault-key-id", "portieris-signature-fingerprint")
        ]
        return words[0], words[1]

    def sign(self) -> str:
        """A new image, signed by the key that the Secret names."""
        name, _ = self.bench.push(self.bench.repository())
        key_id, fingerprint = self.reference()
        self.bench.imgsec("sign-image", name, "--key", key_id, "--fingerprint", fingerprint).expect(
            0
        )
        return name

    def refused_by_skopeo(self, *images: str) -> list[str]:
        """The images that a node with the published keys refuses to pull."""
        data = yaml.safe_load((self.folder / SECRET).read_text())["data"]
        public = self.bench.folder / "public.asc"
        public.write_bytes(base64.b64decode(data["key"]))
        rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)}
        policy = self.bench.folder / "policy.json"
        policy.write_text(
            json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {"": [rule]}}})
        )
        return [image for image in images if not self._pulls(policy, image)]

    def _pulls(self, policy: Path, image: str) -> bool:
        done = subprocess.run(
            [
                "skopeo",
                "--policy",
                policy,
                "copy",
                f"docker://{image}",
                f"dir:{self.bench.folder / 'pulled'}",
            ],
            env=self.bench.environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.returncode == 0


@pytest.fixture
def cluster(bench: Bench) -> Cluster:
    alias, out = bench.alias(), bench.folder / "out"
    run = ("setup-signing-keys", "--alias", alias, "--repository", f"{bench.sandbox.registry}/*")
    made = bench.imgsec(*run, "--render", out).expect(0).json["key"]
    return Cluster(bench, alias, out, made["fingerprint"])


def test_rotation_from_the_first_run_to_the_retired_key(cluster: Cluster) -> None:
    bench, alias = cluster.bench, cluster.alias
    old_id, _ = cluster.reference()
    before = cluster.sign()
    made = cluster.rotate().expect(0).json["rotation"]
    assert (made["stage"], made["old"]["keyId"], cluster.reference()[0]) == (
        "published",
        old_id,
        old_id,
    )
    again = cluster.rotate().expect(0).json
    assert again["rotation"] == made
    assert {change["state"] for change in again["changes"]} == {"unchanged"}
    new = made["new"]["fingerprint"]
    published = bench.imgsec("keys", "check", "--key", cluster.secret, "--fingerprint", new)
    assert {one["outcome"] for one in published.expect(0).json["verifiers"]} == {"pass"}

    switched = cluster.rotate("--switch", "now").expect(0).json["rotation"]
    assert switched["stage"] == "switched"
    assert cluster.reference() == (made["new"]["keyId"], new)
    after = cluster.sign()
    assert cluster.refused_by_skopeo(before, after) == []
    for key in (cluster.secret, f"kms://{alias}"):
        seen = bench.imgsec("verify-image", before, after, "--key", key).expect(0).json["images"]
        assert [one["signature"]["signer"] for one in seen] == [cluster.first, new]
    # Whoever read the Secret a moment ago may finish.
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", old_id, "--fingerprint", cluster.first).expect(0)

    images = bench.folder / "images.txt"
    images.write_text(f"# what must stay\n{before}\n\n{after}\n{name}\n")
    cluster.rotate("--retire", "now").expect(2, "invalid-option")
    done = cluster.rotate("--retire", "now", "--resign-from", images).expect(0)
    assert [one["signature"]["new"] for one in done.json["images"]] == [True, False, True]
    assert done.json["rotation"]["stage"] == "none"
    assert cluster.refused_by_skopeo(before, after, name) == []
    bench.imgsec("verify-image", before, "--key", f"kms://{alias}", "--fingerprint", new).expect(0)
    bench.imgsec("sign-image", name, "--key", old_id).expect(1, "key-retired")
    done = cluster.rotate("--retire", "now", "--resign-from", images).expect(0)
    assert [note["code"] for note in done.json["notes"]] == ["nothing-to-do"]
    run = ("setup-signing-keys", "--alias", alias, "--repository", f"{bench.sandbox.registry}/*")
    done = bench.imgsec(*run, "--render", cluster.folder).expect(0)
    assert {change["state"] for change in done.json["changes"]} == {"unchanged"}
    assert bench.leftovers() == []


def test_rotation_that_is_ended_while_the_alias_moves_is_finished(cluster: Cluster) -> None:
    """In between, whoever asks for the alias is told to wait; who reads the Secret is not."""
    bench = cluster.bench
    before = cluster.sign()
    cluster.rotate().expect(0)
    words = ("rotate", cluster.alias, "--fingerprint", cluster.first, "--switch", "now")
    running = bench.imgsec.start("keys", *words, "--render", cluster.folder)
    assert running.stderr is not None
    line = running.stderr.readline()
    assert "waiting until the KMS frees the alias" in line
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 143
    assert cluster.stage() == "switching"
    name, _ = bench.push(bench.repository())
    for command in ("sign-image", "verify-image"):
        done = bench.imgsec(command, name, "--key", f"kms://{cluster.alias}")
        assert done.expect(3, "key-moving").json["reasons"][0]["retryable"]
    after = cluster.sign()
    bench.imgsec(
        *("setup-signing-keys", "--alias", cluster.alias, "--repository", "us.icr.io/team/*"),
        *("--render", str(cluster.folder)),
    ).expect(1, "key-conflict")
    time.sleep(1)
    cluster.rotate().expect(0)
    assert cluster.stage() == "switched"
    bench.imgsec("verify-image", before, after, "--key", f"kms://{cluster.alias}").expect(0)
    assert bench.processes() == []


def test_image_that_nobody_vouches_for_keeps_the_old_key(cluster: Cluster) -> None:
    bench = cluster.bench
    unsigned, _ = bench.push(bench.repository())
    images = bench.folder / "images.txt"
    images.write_text(f"{unsigned}\n")
    words = ("--switch", "now", "--retire", "now", "--resign-from", images)
    done = cluster.rotate(*words).expect(1, "signature-missing")
    assert done.json["rotation"]["stage"] == "switched"
    done = cluster.rotate(*words, "--accept-lockout").expect(0)
    assert done.json["rotation"]["stage"] == "none"
    assert "accepted-lockout" in [note["code"] for note in done.json["notes"]]
    assert done.json["images"][0]["outcome"] == "refused"


def test_renewed_key_keeps_its_signatures(cluster: Cluster) -> None:
    bench = cluster.bench
    image, (old_id, _) = cluster.sign(), cluster.reference()
    images = bench.folder / "images.txt"
    images.write_text(image)
    words = ("renew", cluster.alias, "--until", "2099-01-31", "--check-from", images)
    done = cluster.keys(*words).expect(0).json
    assert (done["key"]["expires"], done["key"]["fingerprint"]) == (
        "2099-01-31T00:00:00Z",
        cluster.first,
    )
    assert done["images"][0]["outcome"] == "pass"
    assert cluster.reference() == (done["key"]["keyId"], cluster.first) != (old_id, cluster.first)
    assert cluster.refused_by_skopeo(image, cluster.sign()) == []
    again = cluster.keys(*words).expect(0).json
    assert [note["code"] for note in again["notes"]] == ["nothing-to-do"]
    run = (
        "setup-signing-keys",
        "--alias",
        cluster.alias,
        "--repository",
        f"{bench.sandbox.registry}/*",
    )
    done = bench.imgsec(*run, "--render", cluster.folder).expect(0).json
    assert {change["state"] for change in done["changes"]} == {"unchanged"}


def test_pipelines_have_the_reference_in_a_namespace_of_their_own(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    where = ("--key-reference-namespace", "pipelines", "--render", out)
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*", *where)
    first = bench.imgsec(*run).expect(0).json["key"]["fingerprint"]
    objects = {path.name: yaml.safe_load(path.read_text()) for path in out.iterdir()}
    assert objects[REFERENCE]["metadata"]["namespace"] == "pipelines"
    assert objects[SECRET]["metadata"]["namespace"] == "portieris"
    rotate = ("keys", "rotate", alias, "--fingerprint", first)
    bench.imgsec(*rotate, "--render", out).expect(3, "key-unpublished")
    done = bench.imgsec(*rotate, *where, "--switch", "now").expect(0)
    assert done.json["rotation"]["stage"] == "switched"
    assert yaml.safe_load((out / REFERENCE).read_text()) != objects[REFERENCE]


def test_rotation_is_taken_back(cluster: Cluster) -> None:
    bench, (old_id, _) = cluster.bench, cluster.reference()
    before = cluster.sign()
    new = cluster.rotate().expect(0).json["rotation"]["new"]["fingerprint"]
    exported = bench.folder / "node.asc"
    words = ("keys", "export", cluster.alias, "--public", "--file", exported)
    bench.imgsec(*words).expect(0)
    for fingerprint in (cluster.first, new):  # a node learns the new key before it signs
        check = ("keys", "check", "--key", f"file:{exported}", "--fingerprint", fingerprint)
        bench.imgsec(*check).expect(0)
    done = cluster.rotate("--cancel").expect(0).json
    assert done["rotation"]["stage"] == "none"
    assert cluster.reference() == (old_id, cluster.first)
    after = cluster.sign()
    assert cluster.refused_by_skopeo(before, after) == []
    done = cluster.keys("rotate", cluster.alias, "--cancel").expect(0).json
    assert [note["code"] for note in done["notes"]] == ["nothing-to-do"]
    run = ("setup-signing-keys", "--alias", cluster.alias, "--repository", "us.icr.io/team/*")
    done = bench.imgsec(*run, "--render", bench.folder / "again").expect(0).json
    assert {one["state"] for one in done["changes"] if "kms:" in one["target"]} == {"unchanged"}
    cluster.rotate("--cancel", "--switch", "now").expect(2, "invalid-option")


def test_new_key_that_leaked_is_revoked_and_the_old_one_signs_again(cluster: Cluster) -> None:
    bench, before = cluster.bench, cluster.sign()
    made = cluster.rotate("--switch", "now").expect(0).json["rotation"]["new"]
    by_new = cluster.sign()
    cluster.rotate("--cancel").expect(1, "key-conflict")
    words = ("--fingerprint", made["fingerprint"])
    cluster.keys("revoke", cluster.alias, *words).expect(0)
    cluster.rotate().expect(1, "key-revoked")
    cluster.rotate("--cancel").expect(0)
    after = cluster.sign()
    assert cluster.refused_by_skopeo(before, by_new, after) == [by_new]
    bench.imgsec("sign-image", before, "--key", made["keyId"]).expect(1, "key-revoked")
    done = bench.imgsec("verify-image", after, "--key", f"kms://{cluster.alias}").expect(0)
    assert done.json["images"][0]["signature"]["signer"] == cluster.first


def test_second_folder_is_brought_along_later(cluster: Cluster) -> None:
    """And what runs by its digest alone is signed again."""
    bench, other = cluster.bench, replace(cluster, folder=cluster.bench.folder / "other")
    name, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", f"kms://{cluster.alias}").expect(0)
    image = f"{name.rpartition(':')[0]}@{digest}"
    shutil.copytree(cluster.folder, other.folder)
    images = bench.folder / "images.txt"
    images.write_text(f"{image}\n")
    words = ("--switch", "now", "--retire", "now", "--resign-from", images)
    cluster.rotate(*words).expect(0)
    assert (cluster.stage(), other.stage()) == ("none", "made")
    bench.imgsec("sign-image", name, "--key", other.reference()[0]).expect(1, "key-retired")
    done = other.rotate(*words).expect(0).json
    assert [one["signature"]["new"] for one in done["images"]] == [False]
    assert (other.stage(), other.reference()) == ("none", cluster.reference())
    assert other.refused_by_skopeo(image, other.sign()) == []
    cluster.keys("renew", cluster.alias, "--until", "2099-01-31").expect(0)
    other.sign()  # with the spare copy, which has the earlier end
    other.keys("renew", cluster.alias, "--until", "2099-01-31").expect(0)
    assert other.reference() == cluster.reference()
    assert (other.folder / SECRET).read_bytes() == (cluster.folder / SECRET).read_bytes()
    spare = [one for one in bench.imgsec("keys", "list").json["keys"] if "spare-" in one["alias"]]
    done = cluster.keys("revoke", cluster.alias, "--fingerprint", cluster.reference()[1])
    done.expect(0)
    for entry in spare:
        if entry["fingerprint"] == cluster.reference()[1]:
            run = bench.imgsec("sign-image", name, "--key", entry["keyId"])
            run.expect(1, "key-revoked")


def test_revoked_key_counts_nowhere(cluster: Cluster) -> None:
    bench = cluster.bench
    image = cluster.sign()
    images = bench.folder / "images.txt"
    images.write_text(image)
    words = ("revoke", cluster.alias, "--fingerprint", cluster.first, "--images-from", images)
    refused = cluster.keys(*words).expect(1, "running-images-refused")
    assert "changes" not in refused.json
    text = bench.imgsec.plain("keys", *words, "--render", cluster.folder).stdout
    assert "refused: keys revoke\n  running-images-refused: 1 of 1 images" in text
    bench.imgsec("verify-image", image, "--key", cluster.secret).expect(0)
    done = cluster.keys(*words, "--accept-lockout").expect(0)
    assert "deleting-undoes-nothing" in [note["code"] for note in done.json["notes"]]
    for key in (cluster.secret, f"kms://{cluster.alias}"):
        bench.imgsec("verify-image", image, "--key", key).expect(1, "key-revoked")
    assert cluster.refused_by_skopeo(image) == [image]
    bench.imgsec("sign-image", image, "--key", f"kms://{cluster.alias}").expect(1, "key-revoked")
    exported = bench.folder / "revoked.asc"
    words = ("keys", "export", cluster.alias, "--public", "--file", str(exported))
    bench.imgsec(*words).expect(0)
    bench.imgsec("verify-image", image, "--key", f"file:{exported}").expect(1, "key-revoked")
    # The next key: nothing that the revoked one signed is signed again.
    words = ("--switch", "now", "--retire", "now", "--resign-from", str(images))
    done = cluster.rotate(*words).expect(1, "signature-untrusted", "key-revoked")
    fresh = cluster.sign()
    cluster.rotate(*words, "--accept-lockout").expect(0)
    assert cluster.refused_by_skopeo(image, fresh) == [image]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("rotate", "x-y"), 2, "invalid-option"),
        (("rotate", "x-y", "--fingerprint", "12"), 2, "invalid-fingerprint"),
        (("rotate", "x-y", "--status"), 3, "key-not-found"),
        (("rotate", "x-next", "--status"), 2, "invalid-alias"),
        (("rotate", "x-y", "--fingerprint", "AB" * 20, "--switch", "soon"), 2, "invalid-option"),
        (
            ("rotate", "x-y", "--fingerprint", "AB" * 20, "--switch", "2027-02-30"),
            2,
            "invalid-option",
        ),
        (("renew", "x-y", "--until", "now"), 2, "invalid-option"),
        (("renew", "x-y", "--until", "2020-01-01"), 2, "invalid-option"),
        (("renew", "x-y", "--until", "2106-02-07"), 2, "invalid-option"),
        (("rotate", "x-y", "--cancel"), 3, "key-not-found"),
        (("rotate", "x-y", "--cancel", "--status"), 2, "invalid-option"),
        (("renew", "x-y", "--until", "2099-01-01"), 3, "key-not-found"),
        (("revoke", "x-y", "--fingerprint", "AB" * 20), 3, "key-not-found"),
        (
            ("revoke", "x-y", "--fingerprint", "AB" * 20, "--images-from", "/dev/null"),
            2,
            "input-malformed",
        ),
    ],
)
def test_impossible_question_is_refused(
    bench: Bench, words: tuple[str, ...], code: int, reason: str
) -> None:
    bench.imgsec("keys", *words, "--render", bench.folder).expect(code, reason)


def test_place_is_a_folder_or_a_cluster(bench: Bench) -> None:
    words = ("keys", "rotate", "release", "--status")
    bench.imgsec(*words).expect(2, "invalid-option")
    bench.imgsec(*words, "--render", bench.folder, "--apply").expect(2, "invalid-option")
