# SPDX-License-Identifier: Apache-2.0
"""A release in one run: gate, copy, sign, verify; nothing happens before the gate has passed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
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
    page, suite = bench.folder / "page.html", bench.folder / "suite.xml"
    done = bench.imgsec.plain(
        *("release-image", name, "--key", "kms://no-such-key"),
        *("--output", f"html={page}", "--output", f"junit={suite}"),
    )
    assert done.code == 3
    assert done.stdout.splitlines()[-1] == "Deployment Blocked (undecided)"
    assert "key-not-found" in page.read_text()
    assert 'name="sign"><error' in suite.read_text()


def test_record_that_cannot_be_signed_hides_no_refusal(bench: Bench) -> None:
    name, _ = bench.push("vulnerable-" + bench.repository())
    record = bench.folder / "record.json"
    words = ("release-image", name, "--key", "kms://no-such-key", "--evidence", record)
    done = bench.imgsec(*words, "--sign-evidence").expect(1, "finding-in-force", "key-not-found")
    assert done.json["images"][0]["steps"][0]["scans"]
    assert json.loads(record.read_text())["outcome"] == "refused"


def test_leave_of_a_gate_file_signs_nothing(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    gate = bench.folder / "gate.yaml"
    gate.write_text("version: 1\nmode: warn\n")
    release(bench, key, name, "--gate", gate).expect(2, "invalid-option")
    past = ("--effective-time", "2020-01-01", "--allow-past-effective-time")
    release(bench, key, name, *past).expect(2, "invalid-option")
    assert bench.signatures(name, digest) == []
    release(bench, key, name, "--gate", gate, "--mode", "warn").expect(0)
