# SPDX-License-Identifier: Apache-2.0
"""The gate with several sources, rules, exemptions and outputs, as a pipeline runs it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench
from tests.support import Ended

FIRST, SECOND = "CVE-2026-90001", "CVE-2026-90002"  # of the sandbox's vulnerable images


def trivy_report(
    bench: Bench, name: str, digest: str, *findings: dict[str, Any], age: timedelta = timedelta(0)
) -> Path:
    """A report of this digest, as Trivy writes it."""
    repository = name.rpartition(":")[0]
    path = bench.folder / f"trivy-{digest[7:19]}.json"
    path.write_text(
        json.dumps(
            {
                "SchemaVersion": 2,
                "CreatedAt": (datetime.now(UTC) - age).isoformat(),
                "ArtifactName": name,
                "ArtifactType": "container_image",
                "Metadata": {
                    "OS": {"Family": "debian", "Name": "12.8"},
                    "RepoDigests": [f"{repository}@{digest}"],
                },
                "Results": [
                    {
                        **{"Target": name, "Class": "os-pkgs", "Packages": [{"Name": "base"}]},
                        "Vulnerabilities": list(findings),
                    }
                ],
            }
        )
    )
    return path


def vulnerability(issue: str, severity: str, fixed: str = "2") -> dict[str, Any]:
    return {
        "VulnerabilityID": issue,
        "PkgName": "zlib",
        "InstalledVersion": "1",
        "FixedVersion": fixed,
        "Severity": severity,
        "Title": "made up",
    }


def marks(report: dict[str, Any]) -> dict[str, str]:
    (scan,) = report["images"][0]["scans"]
    return {finding["id"]: finding["mark"] for finding in scan["findings"]}


def test_severity_of_a_report_limits_what_the_advisor_found(bench: Bench) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    report = trivy_report(
        bench, name, digest, vulnerability(FIRST, "LOW"), vulnerability("CVE-2026-1", "CRITICAL")
    )
    words = ("scan-gate", name, "--report", report)
    done = bench.imgsec(*words, "--fail-on", "high").expect(1, "finding-in-force")
    # The advisor has no severity; where no other source has one, the finding counts.
    assert marks(done.json) == {
        "CVE-2026-1": "gated",
        FIRST: "below-limit",
        SECOND: "gated",
    }
    assert "fail-on" in [note["code"] for note in done.json["notes"]]
    (scan,) = done.json["images"][0]["scans"]
    assert [source["name"] for source in scan["sources"]] == ["vulnerability-advisor", "trivy"]


def test_report_alone_gates_an_image_of_any_registry(bench: Bench) -> None:
    """Neither a credential nor the advisor is needed for it."""
    name, digest = bench.push(bench.repository())
    clean = trivy_report(bench, name, digest)
    no_credential = {"IMGSEC_API_KEY_FILE": None, "IMGSEC_IAM_URL": None}
    before = len(bench.log("iam"))
    bench.imgsec("scan-gate", name, "--report", clean, "--no-advisor", env=no_credential).expect(0)
    assert len(bench.log("iam")) == before
    bench.imgsec("scan-gate", name, env=no_credential).expect(2, "missing-credential")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ((), 0, None),
        (("--max-age", "30m"), 3, "stale-report"),
        (("--max-age", "any"), 0, None),
    ],
)
def test_report_must_be_fresh(
    bench: Bench, words: tuple[str, ...], code: int, reason: str | None
) -> None:
    name, digest = bench.push(bench.repository())
    report = trivy_report(bench, name, digest, age=timedelta(hours=1))
    done = bench.imgsec("scan-gate", name, "--no-advisor", "--report", report, *words)
    done.expect(code, *([reason] if reason else []))


def test_report_must_be_about_this_digest_and_whole(bench: Bench) -> None:
    name, digest = bench.push(bench.repository())
    other, other_digest = bench.push(bench.repository())
    foreign = trivy_report(bench, other, other_digest)
    words = ("scan-gate", name, "--no-advisor", "--report")
    bench.imgsec(*words, foreign).expect(3, "foreign-report")
    whole = trivy_report(bench, name, digest).read_bytes()
    for content in (b"", whole[:-20], b"[]", b'{"matches": []}', b"not json", b"\xff" * 9):
        path = bench.folder / "broken.json"
        path.write_bytes(content)
        bench.imgsec(*words, path).expect(3, "report-malformed")
    bench.imgsec(*words, bench.folder / "missing.json").expect(2, "input-unreadable")


def test_index_needs_a_report_of_each_platform(bench: Bench) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    words = ("scan-gate", name, "--no-advisor", "--report")
    bench.imgsec(*words, trivy_report(bench, name, digest)).expect(3, "foreign-report")
    raw = bench.skopeo("inspect", "--raw", f"docker://{name}")
    first, second = (one["digest"] for one in json.loads(raw)["manifests"])
    amd64 = trivy_report(bench, name, first)
    bench.imgsec(*words, amd64).expect(3, "foreign-report")
    bad = trivy_report(bench, name, second, vulnerability("CVE-2026-1", "LOW"))
    # What refuses on one platform is not hidden by what nobody knows of the other.
    bench.imgsec(*words, bad).expect(1, "finding-in-force", "foreign-report")
    bench.imgsec(*words, amd64, "--report", trivy_report(bench, name, second)).expect(0)


def test_baseline_has_a_report_of_its_own(bench: Bench) -> None:
    repository = bench.repository()
    old, old_digest = bench.push(repository, "1")
    new, new_digest = bench.push(repository, "2")
    known, fresh = vulnerability("CVE-2026-1", "LOW"), vulnerability("CVE-2026-2", "LOW")
    before = trivy_report(bench, old, old_digest, known)
    words = ("scan-gate", new, "--no-advisor", "--baseline", old, "--report")
    same = trivy_report(bench, new, new_digest, known)
    bench.imgsec(*words, same).expect(3, "foreign-report")
    bench.imgsec(*words, same, "--report", before).expect(0)
    more = trivy_report(bench, new, new_digest, known, fresh)
    done = bench.imgsec(*words, more, "--report", before).expect(1, "finding-in-force")
    assert marks(done.json) == {"CVE-2026-1": "in-baseline", "CVE-2026-2": "gated"}
    bench.imgsec("scan-gate", new, "--no-advisor", "--baseline", new, "--report", more).expect(
        3, "baseline-unusable"
    )


def test_output_over_an_input_or_another_output_touches_nothing(bench: Bench) -> None:
    name, _ = bench.push(bench.repository())
    gate, images = bench.folder / "gate.yaml", bench.folder / "images.txt"
    gate.write_text("version: 1\n")
    images.write_text(f"{name}\n")
    one = bench.folder / "one"
    for words in (
        ("--gate", gate, "--evidence", gate),
        ("--gate", gate, "--output", f"html={bench.folder}/../{bench.folder.name}/gate.yaml"),
        ("--images-file", images, "--result-digest-file", images),
        ("--evidence", one, "--result-verdict-file", one),
        ("--evidence", one, "--output", f"sarif={one}.asc"),
        ("--output", f"sarif={one}", "--output", f"html={one}"),
    ):
        bench.imgsec("scan-gate", name, *words).expect(2, "invalid-option")
    assert gate.read_text() == "version: 1\n"
    assert images.read_text() == f"{name}\n"
    assert not one.exists()


def test_gate_file_and_ledger_decide_and_are_on_record(bench: Bench) -> None:
    name, _ = bench.push("vulnerable-" + bench.repository())
    gate, ledger = bench.folder / "gate.yaml", bench.folder / "exemptions.yaml"
    gate.write_text("version: 1\nexemptions: ledger-only\n")
    entry = "{id: %s, scope: %s, owner: jane, reason: why, expires: %s}"
    path = name.partition("/")[2].rpartition(":")[0]
    lines = [entry % (FIRST, path, "2099-01-01"), entry % (SECOND, path, "2020-01-01")]
    ledger.write_text("version: 1\nexemptions:\n" + "".join(f"  - {line}\n" for line in lines))
    words = ("scan-gate", name, "--gate", gate, "--exemptions", ledger)
    done = bench.imgsec(*words).expect(1, "finding-in-force", "exemption-expired")
    assert marks(done.json) == {FIRST: "exempt", SECOND: "gated"}
    (scan,) = done.json["images"][0]["scans"]
    assert scan["findings"][0]["exemptions"][0]["owner"] == "jane"
    past = ("--effective-time", "2019-12-31")
    bench.imgsec(*words, *past).expect(2, "invalid-option")
    told = bench.imgsec(*words, *past, "--allow-past-effective-time").expect(0)
    assert {"effective-time", "past-effective-time"} <= {one["code"] for one in told.json["notes"]}


def test_exemption_of_a_secret_is_for_the_file_that_it_was_found_in(bench: Bench) -> None:
    name, digest = bench.push(bench.repository())
    ledger, gate = bench.folder / "exemptions.yaml", bench.folder / "gate.json"
    report = trivy_report(bench, name, digest)
    document = json.loads(report.read_text())
    secret = {"RuleID": "aws-access-key-id", "Severity": "CRITICAL", "Title": "AWS Access Key ID"}
    files = ["/app/creds of the tests"]

    def scanned(*more: str | Path) -> Ended:
        found = [{"Target": one, "Class": "secret", "Secrets": [secret]} for one in files]
        report.write_text(json.dumps({**document, "Results": document["Results"] + found}))
        return bench.imgsec("scan-gate", name, "--report", report, *more)

    gate.write_text(json.dumps(scanned().expect(1, "finding-in-force").json))
    bench.imgsec(
        *("exemptions", "add", ledger, "--from", gate, "--id", "aws-access-key-id"),
        *("--owner", "jane", "--reason", "a sample", "--expires", "30d"),
    ).expect(0)
    (entry,) = yaml.safe_load(ledger.read_text())["exemptions"]
    assert (entry["type"], entry["packages"]) == ("configuration", files)
    scanned("--exemptions", ledger).expect(0)
    files.append("/app/creds")
    scanned("--exemptions", ledger).expect(1, "finding-in-force")


def test_time_limit_hides_no_refusal_of_a_source_that_answered(bench: Bench) -> None:
    """The advisor hangs; what a report says stands."""
    clean, digest = bench.push(bench.repository())
    report = trivy_report(bench, clean, digest, vulnerability(FIRST, "HIGH"))
    bench.fault("va", "hang")
    words = ("scan-gate", clean, "--report", report, "--timeout", "6")
    done = bench.imgsec(*words).expect(1, "finding-in-force", "timeout")
    assert "report-unused" not in {note["code"] for note in done.json["notes"]}
    bench.imgsec("scan-gate", clean, "--timeout", "4").expect(3, "timeout")
    bench.clear_faults()


def test_unfinished_images_do_not_starve_the_others(bench: Bench) -> None:
    endless = [bench.push(f"endless-{bench.repository()}")[0] for _ in range(2)]
    slow = [bench.push(f"slow-{bench.repository()}")[0] for _ in range(2)]
    words = ("scan-gate", *endless, *slow, "--workers", "2", "--timeout", "40")
    done = bench.imgsec(*words)
    outcomes = {one["image"]: one["outcome"] for one in done.json["images"]}
    assert {outcomes[name] for name in endless} == {"undecided"}
    assert {outcomes[name] for name in slow} == {"pass"}


def test_unknown_field_of_a_gate_file_is_an_error(bench: Bench) -> None:
    gate = bench.folder / "gate.yaml"
    gate.write_text("version: 1\nfail_on: high\n")
    done = bench.imgsec("scan-gate", "us.icr.io/a/b:1", "--gate", gate)
    done.expect(2, "input-malformed")
    assert "'fail_on' is unknown" in done.json["reasons"][0]["text"]


def test_warn_mode_passes_with_caution(bench: Bench) -> None:
    name, _ = bench.push("vulnerable-" + bench.repository())
    done = bench.imgsec.plain("scan-gate", name, "--mode", "warn")
    assert done.code == 0
    assert done.stdout.splitlines()[-1] == "Deploy with Caution"
    assert "would-refuse" in done.stdout


def test_last_line_says_it_in_the_advisor_s_words(bench: Bench) -> None:
    vulnerable, _ = bench.push("vulnerable-" + bench.repository())
    clean, _ = bench.push(bench.repository())
    refused = bench.imgsec.plain("scan-gate", vulnerable).stdout.splitlines()
    assert refused[-1] == "Deployment Blocked"
    assert any("openssl" in line and "3.0.15-1" in line for line in refused)
    assert bench.imgsec.plain("scan-gate", clean).stdout.splitlines()[-1] == "OK to Deploy"
    both = bench.imgsec.plain("scan-gate", clean, vulnerable).stdout.splitlines()
    assert both[-1] == "1 OK to Deploy, 1 Deployment Blocked"


def test_baseline_refuses_only_what_is_new(bench: Bench) -> None:
    repository = "vulnerable-" + bench.repository()
    old, _ = bench.push(repository, "1")
    new, _ = bench.push(repository, "2")
    done = bench.imgsec("scan-gate", new, "--baseline", old).expect(0)
    assert set(marks(done.json).values()) == {"in-baseline"}
    assert "baseline" in [note["code"] for note in done.json["notes"]]


def test_all_formats_are_written_by_one_run(bench: Bench) -> None:
    name, digest = bench.push("vulnerable-" + bench.repository())
    files = {
        word: bench.folder / f"report.{word}" for word in ("sarif", "junit", "markdown", "html")
    }
    words = [part for word, path in files.items() for part in ("--output", f"{word}={path}")]
    bench.imgsec("scan-gate", name, *words).expect(1, "finding-in-force")
    sarif = json.loads(files["sarif"].read_text())
    assert {one["ruleId"] for one in sarif["runs"][0]["results"]} == {FIRST, SECOND}
    suite = ET.parse(files["junit"]).getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "3"
    assert digest in files["markdown"].read_text()
    # What the gate wrote refuses in the next one, too, but is no scan, and has no time in it.
    words = ["--no-advisor", "--report", str(files["sarif"]), "--max-age", "any"]
    bench.imgsec("scan-gate", name, *words).expect(1, "finding-in-force", "not-assessed")


def test_two_formats_cannot_both_be_printed(bench: Bench) -> None:
    bench.imgsec("scan-gate", "us.icr.io/a/b:1", "--output", "sarif").expect(2, "invalid-option")


@pytest.mark.once
def test_busy_advisor_judges_all_images_and_none_wrongly(bench: Bench) -> None:
    """A third of all requests is turned away; every image gets the verdict that is its own."""
    pushed = [
        bench.push(("vulnerable-" if number % 3 == 0 else "") + bench.repository())[0]
        for number in range(24)
    ]
    images = bench.folder / "images.txt"
    images.write_text("".join(f"{name}\n" for name in pushed))
    bench.fault("va", "503", every=5)
    bench.fault("va", "429", every=6)
    done = bench.imgsec("scan-gate", "--images-file", images, "--workers", "8")
    done.expect(1, "finding-in-force")
    for image in done.json["images"]:
        word = "refused" if "vulnerable-" in image["image"] else "pass"
        assert image["outcome"] == word, image
