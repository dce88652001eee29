# SPDX-License-Identifier: Apache-2.0
"""A release in one run: gate, copy, sign, verify; nothing happens before the gate has passed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.conftest import Bench, SigningKey
from tests.support import ROOT, Ended, Gpg


def release(bench: Bench, key: SigningKey, name: str, *words: str | Path) -> Ended:
    return bench.imgsec("release-image", name, "--key", key.location, "--timeout", "60", *words)


def steps(done: Ended) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in done.json["images"][0]["steps"]}


def is_there(bench: Bench, name: str) -> bool:
    return bench.imgsec("resolve", name).code == 0


def test_clean_image_is_gated_signed_and_verified(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    files = {word: bench.folder / word for word in ("digest", "image", "scan-status", "verdict")}
    results = [word for key, path in files.items() for word in (f"--result-{key}-file", str(path))]
    done = release(bench, key, name, *results).expect(0)
    assert steps(done) == {"gate": "pass", "sign": "pass", "verify": "pass"}
    (image,) = done.json["images"]
    assert image["digest"] == digest
    assert image["signature"]["signer"] == key.fingerprint
    assert len(image["signature"]["digests"]) == 3
    assert {word: path.read_text() for word, path in files.items()} == {
        "digest": digest,
        "image": f"{name}@{digest}",
        "scan-status": "OK",
        "verdict": "pass",
    }
    again = release(bench, key, name).expect(0)
    assert again.json["images"][0]["signature"]["new"] is False
    assert len(bench.signatures(name, digest)) == 1


def test_vulnerable_image_is_not_signed_and_its_key_not_asked_for(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    before = len(bench.log("kms"))
    done = release(bench, key, name).expect(1, "finding-in-force")
    assert steps(done) == {"gate": "refused"}
    assert bench.signatures(name, digest) == []
    assert len(bench.log("kms")) == before


def test_destination_receives_nothing_before_the_gate_has_passed(
    bench: Bench, key: SigningKey
) -> None:
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    for kind, code, reason in (
        ("vulnerable-", 1, "finding-in-force"),
        ("unsupported-", 3, "not-assessed"),
    ):
        name, _ = bench.push(kind + bench.repository())
        before = len(bench.log("registry"))
        release(bench, key, name, "--to", target).expect(code, reason)
        asked = [one["path"] for one in bench.log("registry")[before:]]
        assert not any(target.partition("/")[2].partition(":")[0] in path for path in asked)
        assert not is_there(bench, target)


def test_copy_is_signed_where_it_is_deployed_from(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    pushed = bench.folder / "pushed"
    done = release(bench, key, name, "--to", target, "--result-pushed-image-file", pushed)
    done.expect(0)
    assert done.json["images"][0]["canonical"] == f"{target.rpartition(':')[0]}@{digest}"
    assert pushed.read_text() == target
    assert bench.signatures(name, digest) == []
    assert len(bench.signatures(target, digest)) == 1
    bench.imgsec("verify-image", target, "--key", key.location).expect(0)


def test_tag_that_moved_is_not_released(bench: Bench, key: SigningKey) -> None:
    repository = bench.repository()
    name, old = bench.push(repository)
    _, new = bench.push(repository)
    done = release(bench, key, f"{name}@{old}").expect(1, "digest-drift")
    assert "steps" not in done.json["images"][0]
    release(bench, key, name, "--expect-digest", old).expect(1, "digest-drift")
    assert bench.signatures(name, old) + bench.signatures(name, new) == []


def test_exempt_findings_are_released_with_a_signed_record(
    bench: Bench, key: SigningKey, gpg: Gpg
) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    refusal, ledger = bench.folder / "refusal.json", bench.folder / "exemptions.yaml"
    bench.imgsec.plain("scan-gate", name, "--output", f"json={refusal}")
    found = json.loads(refusal.read_text())["images"][0]["scans"][0]["findings"]
    for finding in found:
        bench.imgsec(
            *("exemptions", "add", ledger, "--from", refusal, "--id", finding["id"]),
            *("--owner", "jane@example.com", "--reason", "not reachable", "--expires", "30d"),
        ).expect(0)
    record = bench.folder / "record.json"
    words = ("--exemptions", ledger, "--evidence", record, "--sign-evidence")
    release(bench, key, name, *words).expect(0)
    written = json.loads(record.read_text())
    (manifest,) = written["images"][0]["manifests"]
    assert (written["outcome"], manifest["digest"]) == ("pass", digest)
    assert {one["owner"] for one in manifest["exemptions"]} == {"jane@example.com"}
    secret = yaml.safe_load(
        (key.folder / "portieris-image-signing-public-key.secret.yaml").read_text()
    )
    gpg.run("--import", stdin=base64.b64decode(secret["data"]["key"]))
    gpg.run("--verify", f"{record}.asc", str(record))
    record.write_text(record.read_text().replace('"pass"', '"refused"'))
    gpg.run("--verify", f"{record}.asc", str(record), fails=True)


def test_refusal_has_its_signed_record_too(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    record = bench.folder / "record.json"
    done = release(bench, key, name, "--evidence", record, "--sign-evidence")
    done.expect(1, "finding-in-force")
    written = json.loads(record.read_text())
    assert written["outcome"] == "refused"
    assert written["images"][0]["manifests"][0]["findings"]["gated"] == [
        "CVE-2026-90001",
        "CVE-2026-90002",
    ]
    assert (bench.folder / "record.json.asc").exists()
    assert bench.signatures(name, digest) == []


def test_record_that_cannot_be_written_is_found_before_the_work(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    done = release(bench, key, name, "--evidence", bench.folder / "none" / "record.json")
    done.expect(3, "output-unwritable")
    assert bench.signatures(name, digest) == []


def test_step_of_the_documents_releases_in_a_job(bench: Bench, key: SigningKey) -> None:
    """The script of the GitHub Actions step, as its runner calls it."""
    page = (ROOT / "docs" / "gate.md").read_text()
    block = page.partition("In GitHub Actions it is a step:")[2]
    (step, _) = yaml.safe_load(block.partition("```yaml\n")[2].partition("```")[0])
    job = bench.folder / "job"
    job.mkdir()
    tools = bench.folder / "tools"
    tools.mkdir()
    (tools / "imgsec").write_text(f'#!/bin/sh\nexec {sys.executable} -m imgsec "$@"\n')
    (tools / "imgsec").chmod(0o755)
    (job / "exemptions.yaml").write_text("version: 1\nexemptions: []\n")
    name, digest = bench.push(bench.repository())
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"].replace("kms://release", key.location)],
        cwd=job,
        env={
            **bench.imgsec.variables(),
            "PATH": f"{tools}:/usr/bin:/bin",
            "IMAGE": name,
            "GITHUB_OUTPUT": str(job / "output"),
            "GITHUB_STEP_SUMMARY": str(job / "summary"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = dict(line.split("=", 1) for line in (job / "output").read_text().splitlines())
    assert results == {
        "digest": digest,
        "image": f"{name}@{digest}",
        "released-image": name,
        "fingerprint": key.fingerprint,
        "scan-status": "OK",
        "verdict": "pass",
    }
    assert "OK to Deploy" in (job / "summary").read_text()
    assert json.loads((job / "gate.sarif").read_text())["version"] == "2.1.0"


def test_secret_of_older_pipelines_says_which_key_signs(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    manifest = yaml.safe_load((key.folder / "portieris-keys.secret.yaml").read_text())
    folder = bench.folder / "portieris-keys"
    folder.mkdir()
    for member, value in manifest["data"].items():
        (folder / member).write_bytes(base64.b64decode(value))
    environment = {"IMGSEC_KMS_URL": None, "IMGSEC_KMS_INSTANCE": None}
    words = ("release-image", name, "--key-reference", folder, "--timeout", "60")
    done = bench.imgsec(*words, env=environment).expect(0)
    assert done.json["images"][0]["signature"]["signer"] == key.fingerprint
    (folder / "portieris-signature-fingerprint").write_text("AB" * 20)
    bench.imgsec(*words, env=environment).expect(1, "key-fingerprint-mismatch")
    bench.imgsec("release-image", name).expect(2, "invalid-option")
    (folder / "vault-key-id").unlink()
    assert "vault-key-id" in bench.imgsec(*words).expect(2, "invalid-option").stdout


def test_failure_after_the_gate_is_no_word_for_deployment(bench: Bench, key: SigningKey) -> None:
    """The gate said yes, and the release did not happen: no output says that all is well."""
    name, _ = bench.push(bench.repository())
    files = {word: bench.folder / f"out.{word}" for word in ("html", "junit", "markdown", "sarif")}
    record = bench.folder / "record.json"
    done = bench.imgsec.plain(
        *("release-image", name, "--key", "kms://no-such-key", "--evidence", record),
        *(word for kind, path in files.items() for word in ("--output", f"{kind}={path}")),
    )
    assert done.code == 3
    assert done.stdout.splitlines()[-1] == "Deployment Blocked (undecided)"
    for path in (*files.values(), record):
        assert "OK to Deploy" not in path.read_text()
        assert "key-not-found" in path.read_text()
    assert "no verdict" not in files["html"].read_text(), "the gate has one"
    assert 'name="sign"><error' in files["junit"].read_text()
    (run,) = json.loads(files["sarif"].read_text())["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    (image,) = json.loads(record.read_text())["images"]
    assert (image["outcome"], image["decision"]) == ("undecided", "Deployment Blocked (undecided)")
    assert {one["step"]: one["outcome"] for one in image["steps"]} == {
        "gate": "pass",
        "sign": "undecided",
    }


def test_time_limit_in_signing_leaves_what_the_gate_found(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    record = bench.folder / "record.json"
    bench.fault("registry", "hang", method="PUT", path="signatures")
    words = ("release-image", name, "--key", key.location, "--to", target, "--timeout", "8")
    done = bench.imgsec(*words, "--evidence", record).expect(3, "pushed-unsigned")
    bench.clear_faults()
    (image,) = done.json["images"]
    assert image["image"] == name
    assert steps(done) == {"gate": "pass", "sign": "undecided"}
    assert image["steps"][0]["scans"][0]["digest"] == digest
    (recorded,) = json.loads(record.read_text())["images"]
    assert (recorded["digest"], recorded["outcome"]) == (digest, "undecided")
    assert not is_there(bench, target), "its tag names nothing yet"
    release(bench, key, name, "--to", target).expect(0)


def test_time_limit_for_the_record_s_key_hides_no_refusal(bench: Bench, key: SigningKey) -> None:
    vulnerable, _ = bench.push("vulnerable-" + bench.repository())
    clean, _ = bench.push(bench.repository())
    record = bench.folder / "record.json"
    bench.fault("kms", "hang")
    words = ("--key", key.location, "--timeout", "6", "--evidence", record, "--sign-evidence")
    done = bench.imgsec("release-image", vulnerable, *words)
    done.expect(1, "finding-in-force", "timeout")
    assert done.json["images"][0]["steps"][0]["scans"]
    begun = time.monotonic()
    bench.imgsec("release-image", clean, *words).expect(3, "timeout")
    assert time.monotonic() - begun < 40, "the key is not asked for anew when the time is up"
    bench.clear_faults()
    assert json.loads(record.read_text())["outcome"] == "undecided"


def test_record_of_an_earlier_run_never_stays(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    record = bench.folder / "record.json"
    beside = bench.folder / "record.json.asc"
    for words in (
        ("release-image", name, "--key", key.location, "--gate", bench.folder / "none.yaml"),
        ("release-image", "App:1", "--key", key.location),
        ("scan-gate", name, "--evidence-key", f"file:{bench.folder}/none"),
        ("scan-gate", name, "--fail-on", "never"),
    ):
        record.write_text('{"outcome": "pass"}')
        beside.write_text("signature")
        assert bench.imgsec(*words, "--evidence", record).code in (2, 3)
        assert not record.exists()
        assert not beside.exists()


def test_every_name_that_is_signed_is_verified(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    further = f"{bench.sandbox.registry}/elsewhere/app:2"
    record = bench.folder / "record.json"
    done = release(bench, key, name, "--sign-identity", further, "--evidence", record).expect(0)
    assert steps(done)["verify"] == "pass"
    signed = json.loads(record.read_text())["images"][0]["signed"]
    assert signed["names"] == [name, further]
    assert signed["signer"] == key.fingerprint


def test_tag_that_is_moved_is_told(bench: Bench, key: SigningKey) -> None:
    first, old = bench.push(bench.repository())
    second, _ = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:1.0"
    release(bench, key, first, "--to", target).expect(0)
    done = release(bench, key, second, "--to", target).expect(0)
    told = {note["code"]: note["text"] for note in done.json["notes"]}
    assert told["tag-moved"].endswith(f"named {old} before")
    again = release(bench, key, second, "--to", target).expect(0)
    assert "tag-moved" not in {note["code"] for note in again.json["notes"]}


def test_record_that_cannot_be_signed_hides_no_refusal(bench: Bench) -> None:
    name, _ = bench.push("vulnerable-" + bench.repository())
    record = bench.folder / "record.json"
    words = ("release-image", name, "--key", "kms://no-such-key", "--evidence", record)
    done = bench.imgsec(*words, "--sign-evidence").expect(1, "finding-in-force", "key-not-found")
    assert done.json["images"][0]["steps"][0]["scans"]
    assert json.loads(record.read_text())["outcome"] == "refused"


def test_destination_that_is_an_unset_variable_is_none(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    release(bench, key, name, "--to", "").expect(2, "invalid-reference")
    assert bench.signatures(name, digest) == []
    bench.imgsec(
        *("release-image", name, "--key", key.location),
        env={"IMGSEC_RELEASE_IMAGE_TO": ""},  # as a Task has it that copies nothing
    ).expect(0)


def test_kms_that_cannot_be_meant_is_found_before_the_gate(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push("endless-" + bench.repository())
    before = len(bench.log("va"))
    words = ("release-image", name, "--key", key.location, "--timeout", "20")
    bench.imgsec(*words, "--kms-url", "ftp://kms.example.com").expect(2, "invalid-option")
    bench.imgsec(*words, "--kms-instance", "no uuid").expect(2, "invalid-option")
    bench.imgsec(*words, env={"IMGSEC_KMS_INSTANCE": None}).expect(2, "missing-credential")
    assert len(bench.log("va")) == before


def test_leave_of_a_gate_file_signs_nothing(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    gate = bench.folder / "gate.yaml"
    gate.write_text("version: 1\nmode: warn\n")
    release(bench, key, name, "--gate", gate).expect(2, "invalid-option")
    past = ("--effective-time", "2020-01-01", "--allow-past-effective-time")
    release(bench, key, name, *past).expect(2, "invalid-option")
    assert bench.signatures(name, digest) == []
    release(bench, key, name, "--gate", gate, "--mode", "warn").expect(0)
