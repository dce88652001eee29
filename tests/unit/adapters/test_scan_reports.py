# SPDX-License-Identifier: Apache-2.0
"""What scanners' own reports become, and that no document makes anything but a reason of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsec.adapters.report_files import read_reports
from imgsec.adapters.scan_reports import ClaimedReport
from imgsec.domain.vulnerability import ADVISOR as LIVE
from imgsec.domain.vulnerability import (
    Finding,
    IssueKind,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    Severity,
)
from imgsec.errors import ImgsecError
from tests.support import ROOT
from tests.unit.refusals import refused

REPORTS = ROOT / "tests" / "data" / "scan_reports"
MANIFEST = "sha256:00a866a083a4b8b398bfc6f8747c061f2fdcee1dfd94a462b3cce8326034e195"
CONFIG = "sha256:56aa2a2bc52e2b0be99cf3d4d8b385bbcfffa11ea7fc42ef0231443d574cbebc"
ADVISOR: dict[str, Any] = {
    "image": f"us.icr.io/team/app@{MANIFEST}",
    "id": "some-id",
    "status": "FAIL",
    "scan_time": 1_790_000_000,
    "os_distribution": {"distribution_id": "debian", "version_id": "12"},
    "configuration_issues": [],
    "vulnerabilities": [
        {
            "cve_id": "CVE-2026-0001",
            "summary": "libleak: reads beyond the end",
            "exempt_status": "active",
            "cve_exempt": False,
            "security_notices": [
                {
                    "notice_id": "DSA-9001-1",
                    "notice": "https://example.com/DSA-9001-1",
                    "notice_exempt": False,
                    "vulnerable_packages": [
                        {
                            "package_name": "libleak",
                            "installed_version": "1.2-3",
                            "fix_version": "1.2-3+deb12u1",
                            "corrective_action": "Upgrade libleak",
                        }
                    ],
                }
            ],
        }
    ],
}


def document(name: str) -> Any:
    return json.loads((REPORTS / name).read_bytes())


def read(content: Any) -> list[ClaimedReport]:
    return read_reports(json.dumps(content).encode(), "the file")


def one(content: Any) -> ScanReport:
    (claimed,) = read(content)
    return claimed.report


def by_id(report: ScanReport) -> dict[str, Finding]:
    return {finding.id: finding for finding in report.findings}


# --- Trivy ----------------------------------------------------------------------------------------


def test_trivy_tells_fixed_and_unfixed_vulnerabilities_with_their_severities() -> None:
    (claimed,) = read(document("trivy-vulnerable.json"))
    assert claimed.digests == {MANIFEST, CONFIG}
    report = claimed.report
    assert (str(report.source), report.status) == ("trivy 0.76.0", ScanStatus.FAIL)
    assert (str(report.distribution), report.is_end_of_life) == ("debian 12.5", None)
    assert report.made_at is not None
    assert report.made_at.tzinfo is UTC
    fixed, unfixed = report.findings
    assert (fixed.id, fixed.severity, fixed.is_fixable) == ("CVE-2026-0001", Severity.HIGH, True)
    assert [notice.id for notice in fixed.notices] == ["DSA-9001-1"]
    (package,) = fixed.packages
    assert (package.name, package.installed, package.fixed) == (
        *("libleak", "1.2-3"),
        "1.2-3+deb12u1",
    )
    assert (unfixed.severity, unfixed.is_fixable) == (Severity.LOW, False)


def test_trivy_of_an_index_names_the_configuration_of_the_platform_it_looked_at() -> None:
    (claimed,) = read(document("trivy-index.json"))
    assert CONFIG in claimed.digests
    assert MANIFEST not in claimed.digests


def test_suppressed_finding_stays_in_sight_as_exempt() -> None:
    report = one(document("trivy-suppressed.json"))
    found = by_id(report)
    assert found["CVE-2026-0001"].status is PolicyStatus.EXEMPT
    assert found["CVE-2026-0002"].status is PolicyStatus.ACTIVE


def test_finding_that_is_suppressed_for_one_package_of_two_is_in_force() -> None:
    content = document("trivy-suppressed.json")
    (result,) = content["Results"]
    active = copy.deepcopy(result["ExperimentalModifiedFindings"][0]["Finding"])
    result["Vulnerabilities"] = [{**active, "PkgName": "libleak-tools"}]
    report = one(content)
    (finding,) = report.findings
    assert (finding.status, report.status) == (PolicyStatus.PARTIAL, ScanStatus.FAIL)
    assert {package.name for package in finding.packages} == {"libleak", "libleak-tools"}


@pytest.mark.parametrize(
    ("name", "status", "distribution"),
    [
        ("trivy-clean.json", ScanStatus.OK, "debian 12.5"),
        ("trivy-end-of-life.json", ScanStatus.OK, "debian 8.11"),
        ("trivy-library.json", ScanStatus.OK, ""),
        ("trivy-scratch.json", ScanStatus.UNSUPPORTED, ""),
        ("trivy-unknown-system.json", ScanStatus.UNSUPPORTED, ""),
    ],
)
def test_trivy_without_findings(name: str, status: ScanStatus, distribution: str) -> None:
    report = one(document(name))
    assert (report.findings, report.status) == ((), status)
    assert str(report.distribution) == distribution
    assert report.is_end_of_life is (True if "end-of-life" in name else None)
    assert [code for code, _ in report.remarks] == ["options-unsaid"]


def test_report_of_a_scan_for_secrets_alone_looks_clean_and_bears_a_remark() -> None:
    """Trivy says nowhere what it looked for; should it say so one day, this is to be read."""
    clean, other = document("trivy-clean.json"), document("trivy-secrets-only.json")
    for content in (clean, other):
        del content["CreatedAt"], content["ReportID"]
    assert clean == other
    assert [code for code, _ in one(other).remarks] == ["options-unsaid"]
    assert [code for code, _ in one(document("trivy-vulnerable.sarif")).remarks] == [
        "options-unsaid"
    ]


def test_unknown_system_is_not_assessed_whatever_else_was_found() -> None:
    content = document("trivy-vulnerable.json")
    content["Metadata"]["OS"] = {"Family": "none", "Name": ""}
    report = one(content)
    assert (report.status, len(report.findings)) == (ScanStatus.UNSUPPORTED, 2)


@pytest.mark.parametrize("results", [None, [], [{"Class": "lang-pkgs", "Type": "npm"}]])
def test_trivy_without_the_packages_of_the_distribution_is_partial(results: Any) -> None:
    content = document("trivy-clean.json")
    content["Results"] = results
    with refused("report-partial"):
        read(content)


@pytest.mark.parametrize("results", [None, [], ...])
def test_trivy_without_results_of_an_image_without_distribution_saw_nothing(results: Any) -> None:
    content = document("trivy-library.json")
    content["Results"] = results
    if results is ...:
        del content["Results"]
    assert one(content).status is ScanStatus.UNSUPPORTED


@pytest.mark.parametrize(
    "member", ["Vulnerabilities", "ExperimentalModifiedFindings", "Secrets", "Misconfigurations"]
)
def test_trivy_writes_no_null_for_a_list(member: str) -> None:
    content = document("trivy-library.json")
    content["Results"][0][member] = None
    with refused("report-malformed"):
        read(content)


@pytest.mark.parametrize(
    ("status", "is_fixable"),
    [
        *(("affected", False), ("will_not_fix", False), ("fix_deferred", False)),
        *(("end_of_life", False), ("not_affected", False), (None, False)),
        *(("unknown", True), ("under_investigation", True)),
    ],
)
def test_trivy_that_does_not_know_of_a_fix_does_not_say_there_is_none(
    status: str | None, is_fixable: bool
) -> None:
    content = document("trivy-vulnerable.json")
    item = content["Results"][0]["Vulnerabilities"][1]
    item["Status"] = status
    if status is None:
        del item["Status"]
    assert by_id(one(content))["CVE-2026-0002"].is_fixable is is_fixable


def test_day_of_a_vulnerability_only_stands_in_for_that_of_its_fix() -> None:
    fixed, unfixed = one(document("trivy-vulnerable.json")).findings
    (package,) = fixed.packages
    assert package.fixed_since == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert not package.is_since_known
    assert unfixed.packages[0].fixed_since is None
    (known,) = by_id(one(document("grype-vulnerable.json")))["CVE-2026-0001"].packages
    assert known.is_since_known


def test_trivy_that_names_no_package_at_all_is_partial() -> None:
    with refused("report-partial") as reasons:
        read(document("trivy-clean-unlisted.json"))
    assert "--list-all-pkgs" in reasons[0].hint


def test_trivy_of_a_folder_is_about_no_image() -> None:
    content = document("trivy-vulnerable.json")
    content["ArtifactType"] = "filesystem"
    (claimed,) = read(content)
    assert (claimed.digests, claimed.report.status) == (frozenset(), ScanStatus.UNSCANNED)


def test_secrets_and_misconfigurations_are_configuration_issues() -> None:
    content = document("trivy-clean.json")
    content["Results"] += [
        {
            "Target": "/app/key.pem",
            "Class": "secret",
            "Secrets": [{"RuleID": "private-key", "Severity": "HIGH", "Title": "Private key"}],
        },
        {
            "Target": "Dockerfile",
            "Class": "config",
            "Misconfigurations": [
                {"ID": "DS-0002", "Status": "FAIL", "Severity": "MEDIUM", "Resolution": "Add USER"},
                {"ID": "DS-0001", "Status": "PASS", "Severity": "MEDIUM"},
            ],
        },
    ]
    report = one(content)
    assert report.status is ScanStatus.FAIL
    assert {finding.kind for finding in report.findings} == {IssueKind.CONFIGURATION}
    assert {finding.id for finding in report.findings} == {"DS-0002", "private-key"}


# --- Grype ----------------------------------------------------------------------------------------


def test_grype_tells_its_findings_the_ignored_ones_as_exempt() -> None:
    (claimed,) = read(document("grype-vulnerable.json"))
    assert claimed.digests == {MANIFEST, CONFIG}
    report, found = claimed.report, by_id(claimed.report)
    assert (str(report.source), report.status) == ("grype 0.104.0", ScanStatus.FAIL)
    assert report.checked_at == datetime(2026, 11, 20, 6, 14, tzinfo=UTC)
    assert report.made_at == datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)
    assert found["CVE-2026-0002"].status is PolicyStatus.EXEMPT
    assert found["CVE-2026-0002"].severity is Severity.NEGLIGIBLE
    leak = found["CVE-2026-0001"]
    assert (leak.severity, leak.aliases) == (Severity.HIGH, ())
    assert leak.summary.startswith("A crafted file")
    assert leak.packages[0].fixed_since == datetime(2026, 1, 10, tzinfo=UTC)
    assert found["GHSA-aaaa-bbbb-cccc"].aliases == ("CVE-2026-0003",)
    assert not found["GHSA-aaaa-bbbb-cccc"].is_fixable


def test_grype_with_an_older_database_says_its_age_elsewhere() -> None:
    content = document("grype-vulnerable.json")
    content["descriptor"]["db"] = {"built": "2026-11-19T00:00:00Z", "schemaVersion": 5}
    assert one(content).checked_at == datetime(2026, 11, 19, tzinfo=UTC)


def test_grype_without_distribution_and_findings_saw_nothing() -> None:
    content = document("grype-vulnerable.json")
    content |= {"matches": [], "ignoredMatches": None, "distro": {"name": "", "version": ""}}
    assert one(content).status is ScanStatus.UNSUPPORTED
    content["distro"] = {"name": "debian", "version": "12"}
    assert one(content).status is ScanStatus.OK


def test_grype_without_a_list_of_matches_is_no_report() -> None:
    content = document("grype-vulnerable.json")
    content["matches"] = None
    with refused("report-malformed"):
        read(content)


def test_grype_that_left_out_files_is_partial() -> None:
    content = document("grype-vulnerable.json")
    content["descriptor"]["configuration"]["exclude"] = ["./**"]
    with refused("report-partial") as reasons:
        read(content)
    assert "./**" in reasons[0].text


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({}, []),
        ({"platform": "linux/arm64", "exclude": None}, []),  # the digests tell which it was
        ({"only-fixed": True}, ["options-narrow"]),
        ({"distro": "alpine:3.22", "ignore-wontfix": "wont-fix"}, ["options-narrow"]),
        (None, ["options-unsaid"]),
    ],
)
def test_grype_that_was_told_what_to_look_for_bears_a_remark(
    options: dict[str, Any] | None, codes: list[str]
) -> None:
    content = document("grype-vulnerable.json")
    if options is None:
        del content["descriptor"]["configuration"]
    else:
        content["descriptor"]["configuration"] |= options
    remarks = one(content).remarks
    assert [code for code, _ in remarks] == codes
    for name in options or ():
        assert not codes or name in remarks[0][1]


@pytest.mark.parametrize(
    ("state", "is_fixable"),
    [*(("not-fixed", False), ("wont-fix", False)), *(("unknown", True), ("", True), (None, True))],
)
def test_grype_that_does_not_know_of_a_fix_does_not_say_there_is_none(
    state: str | None, is_fixable: bool
) -> None:
    content = document("grype-vulnerable.json")
    content["matches"][1]["vulnerability"]["fix"]["state"] = state
    finding = by_id(one(content))["GHSA-aaaa-bbbb-cccc"]
    assert finding.is_fixable is is_fixable
    unfixed = copy.deepcopy(content["matches"][1])
    unfixed["vulnerability"]["fix"]["state"] = "not-fixed"
    unfixed["artifact"]["name"] = "right"
    content["matches"].append(unfixed)
    assert by_id(one(content))["GHSA-aaaa-bbbb-cccc"].is_fixable is is_fixable


def test_match_that_is_ignored_for_one_package_of_two_is_in_force() -> None:
    content = document("grype-vulnerable.json")
    ignored = copy.deepcopy(content["matches"][0])
    ignored["artifact"]["name"] = "libleak-tools"
    content["ignoredMatches"] = [ignored]
    assert by_id(one(content))["CVE-2026-0001"].status is PolicyStatus.PARTIAL


def test_grype_of_a_folder_is_about_no_image() -> None:
    content = document("grype-vulnerable.json")
    content["source"] = {"type": "directory", "target": "/"}
    (claimed,) = read(content)
    assert (claimed.digests, claimed.report.status) == (frozenset(), ScanStatus.UNSCANNED)


# --- SARIF ----------------------------------------------------------------------------------------


def test_sarif_of_trivy_tells_the_same_findings() -> None:
    (claimed,) = read(document("trivy-vulnerable.sarif"))
    assert claimed.digests == {MANIFEST, CONFIG}
    report = claimed.report
    assert (str(report.source), report.status) == ("trivy 0.76.0", ScanStatus.FAIL)
    assert report.made_at is None
    plain = one(document("trivy-vulnerable.json"))
    for seen, known in zip(report.findings, plain.findings, strict=True):
        assert (seen.id, seen.severity, seen.summary) == (known.id, known.severity, known.summary)
        assert seen.is_fixable is known.is_fixable
        for one_package, other in zip(seen.packages, known.packages, strict=True):
            assert (one_package.name, one_package.installed) == (other.name, other.installed)


@pytest.mark.parametrize(
    ("suppressions", "status"),
    [
        ([], PolicyStatus.ACTIVE),
        ([{"kind": "external"}], PolicyStatus.EXEMPT),
        ([{"kind": "external", "status": "accepted"}], PolicyStatus.EXEMPT),
        ([{"kind": "external", "status": "underReview"}], PolicyStatus.ACTIVE),
        ([{"kind": "inSource", "status": "accepted"}, {"status": "rejected"}], PolicyStatus.ACTIVE),
    ],
)
def test_only_what_somebody_accepted_is_suppressed(suppressions: Any, status: PolicyStatus) -> None:
    content = document("trivy-vulnerable.sarif")
    content["runs"][0]["results"] = content["runs"][0]["results"][:1]
    content["runs"][0]["results"][0]["suppressions"] = suppressions
    assert [finding.status for finding in one(content).findings] == [status]


def test_each_run_of_a_sarif_file_is_a_report_of_its_own() -> None:
    content = document("trivy-vulnerable.sarif")
    second = copy.deepcopy(content["runs"][0])
    second["tool"]["driver"]["name"] = "Other"
    second["properties"] = {}
    second["automationDetails"] = {"id": "scan/sha256:" + "a" * 64}
    second["results"] = []
    content["runs"].append(second)
    first, other = read(content)
    assert first.report.source.name == "trivy"
    # A tool that nobody knows may have looked for anything.
    assert (other.report.source.name, other.report.status) == ("other", ScanStatus.UNSUPPORTED)
    assert other.digests == {"sha256:" + "a" * 64}


def _notified(kind: str, level: str) -> dict[str, Any]:
    notification = {"level": level, "message": {"text": "no such layer"}}
    return {"invocations": [{"executionSuccessful": True, kind: [notification]}]}


@pytest.mark.parametrize(
    "change",
    [
        {"invocations": [{"executionSuccessful": False}]},
        {"invocations": [{"executionSuccessful": True}, {"executionSuccessful": False}]},
        {"invocations": [{"exitCode": 1}]},
        {"invocations": [{"executionSuccessful": None, "exitCode": 137}]},
        {"invocations": [{"executionSuccessful": True, "exitSignalName": "SIGKILL"}]},
        {"invocations": [{"processStartFailureMessage": "no such file"}]},
        _notified("toolExecutionNotifications", "error"),
        _notified("toolConfigurationNotifications", "error"),
        {"results": None},
        {"results": ...},
        {"results": [], "externalPropertyFileReferences": {"results": [{"guid": "1"}]}},
        {"externalPropertyFileReferences": {"invocations": [{"guid": "1"}]}},
    ],
)
def test_run_that_did_not_end_well_or_is_not_whole_is_no_report(change: dict[str, Any]) -> None:
    content = document("trivy-vulnerable.sarif")
    run = content["runs"][0] | change
    content["runs"] = [{name: value for name, value in run.items() if value is not ...}]
    with refused("report-partial"):
        read(content)


def test_run_with_results_outside_the_runs_is_not_whole() -> None:
    content = document("trivy-vulnerable.sarif")
    content["inlineExternalProperties"] = [{"results": content["runs"][0]["results"]}]
    content["runs"][0]["results"] = []
    with refused("report-partial"):
        read(content)


@pytest.mark.parametrize(
    "change",
    [
        {"invocations": None},
        {"invocations": [{"executionSuccessful": True, "exitCode": 2}]},  # it has found something
        {"invocations": [{"exitCode": 0}]},
        _notified("toolExecutionNotifications", "warning"),
        {"externalPropertyFileReferences": {"results": [], "artifacts": [{"guid": "1"}]}},
    ],
)
def test_run_that_ended_with_a_code_or_a_warning_may_be_whole(change: dict[str, Any]) -> None:
    content = document("trivy-vulnerable.sarif")
    content["runs"][0] |= change
    assert len(one(content).findings) == 2


def sarif(driver: str, *results: Any, rules: Any = (), **more: Any) -> dict[str, Any]:
    tool = {"driver": {"name": driver, "rules": list(rules)}}
    return {"version": "2.1.0", "runs": [{"tool": tool, "results": list(results), **more}]}


@pytest.mark.parametrize(
    "name", ["Trivy", "grype", "Grype", "Snyk Container", "docker scout", "Prisma Cloud (twistcli)"]
)
def test_scanner_of_images_that_lists_nothing_has_found_nothing(name: str) -> None:
    assert one(sarif(name)).status is ScanStatus.OK


@pytest.mark.parametrize(
    ("score", "level", "severity"),
    [
        ("9.8", "note", Severity.CRITICAL),
        ("0.0", "note", Severity.UNKNOWN),  # Trivy, and Grype, of what nobody rated
        (0, "error", Severity.UNKNOWN),
        ("undefined", "error", Severity.HIGH),  # Snyk
        ("null", "warning", Severity.MEDIUM),
        ("", "note", Severity.LOW),
        ("nan", "error", Severity.HIGH),
        (None, "error", Severity.HIGH),
        (11, "error", Severity.HIGH),
    ],
)
def test_severity_of_sarif_is_the_score_s_and_else_the_level_s(
    score: Any, level: str, severity: Severity
) -> None:
    rule = {"id": "CVE-2026-1000", "properties": {"security-severity": score}}
    found = one(sarif("Trivy", {"ruleId": "CVE-2026-1000", "level": level}, rules=[rule]))
    assert [finding.severity for finding in found.findings] == [severity]


@pytest.mark.parametrize("name", ["Misconfiguration", "Secret"])
def test_secret_in_sarif_is_no_vulnerability(name: str) -> None:
    rule = {"id": "aws-access-key-id", "name": name}
    found = one(sarif("Trivy", {"ruleId": "aws-access-key-id"}, rules=[rule]))
    assert [finding.kind for finding in found.findings] == [IssueKind.CONFIGURATION]


def test_suppressed_secret_is_in_sight() -> None:
    """As `trivy image --show-suppressed` of 0.76 writes it."""
    content = document("trivy-vulnerable.json")
    secret = {"RuleID": "aws-access-key-id", "Severity": "CRITICAL", "Title": "AWS Access Key ID"}
    hidden = {"Type": "secret", "Status": "ignored", "Finding": secret}
    place = {"Target": "/app/creds", "Class": "secret"}
    content["Results"] += [
        {**place, "Secrets": [secret]},
        {**place, "Target": "/app/more", "ExperimentalModifiedFindings": [hidden]},
    ]
    found = [part for part in one(content).findings if part.kind is IssueKind.CONFIGURATION]
    assert [(finding.id, finding.status, finding.packages[0].name) for finding in found] == [
        ("aws-access-key-id", PolicyStatus.ACTIVE, "/app/creds"),
        ("aws-access-key-id", PolicyStatus.EXEMPT, "/app/more"),
    ]


@pytest.mark.parametrize(
    "name", ["ECLAIR", "Snyk Code", "Snyk IaC", "CodeQL", "Trivyology", "qualys-lint", "imgsec"]
)
def test_other_tool_that_lists_nothing_may_have_looked_for_anything(name: str) -> None:
    assert one(sarif(name)).status is ScanStatus.UNSUPPORTED
    note = {"ruleId": "style", "level": "note", "message": {"text": "a tab"}}
    assert one(sarif(name, note)).status is ScanStatus.UNSUPPORTED


def test_tool_that_has_found_a_vulnerability_looks_for_them_unless_it_is_imgsec() -> None:
    hit = {"ruleId": "CVE-2026-0001", "message": {"text": "libleak"}}
    assert one(sarif("Some Scanner", hit)).status is ScanStatus.FAIL
    ours = one(sarif("imgsec", hit))
    assert (ours.status, len(ours.findings)) == (ScanStatus.UNSUPPORTED, 1)


_GRYPE_HELP = (
    "Vulnerability {issue}\nSeverity: high\nPackage: {package}\nVersion: 1.2-3\n"
    "Fix Version: {fixed}\nType: deb\nLocation: /var/lib/dpkg/status\n"
    "Data Namespace: debian\nLink: {issue}"
)


def _grype_rule(issue: str, package: str, fixed: str = "") -> dict[str, Any]:
    text = _GRYPE_HELP.format(issue=issue, package=package, fixed=fixed)
    return {
        "id": f"{issue}-{package}",
        "name": "DpkgMatcherExactDirectMatch",
        "help": {"text": text},
        "properties": {"security-severity": "7.5"},
    }


def test_sarif_of_grype_is_filed_under_the_vulnerability_with_all_its_packages() -> None:
    rules = [
        _grype_rule("CVE-2026-0001", "libleak", "1.2-4"),
        _grype_rule("CVE-2026-0001", "libleak-2026-tools"),
        _grype_rule("ELSA-2026-1234", "libworn"),
    ]
    content = sarif("Grype", *({"ruleId": rule["id"]} for rule in rules), rules=rules)
    found = by_id(one(content))
    assert set(found) == {"CVE-2026-0001", "ELSA-2026-1234"}
    leak = found["CVE-2026-0001"]
    assert leak.severity is Severity.HIGH
    assert {(package.name, package.fixed) for package in leak.packages} == {
        ("libleak", "1.2-4"),
        ("libleak-2026-tools", ""),
    }
    # Without a fix it does not say whether there is none.
    assert found["ELSA-2026-1234"].is_fixable


@pytest.mark.parametrize(
    ("name", "issue", "package"),
    [
        ("CVE-2026-0001-zlib", "CVE-2026-0001", "zlib"),
        ("CVE-2026-12345-7zip", "CVE-2026-12345", "7zip"),
        ("GHSA-aaaa-bbbb-cccc-left-pad", "GHSA-aaaa-bbbb-cccc", "left-pad"),
        ("GHSA-aaaa-bbbb-cccc-@scope/x", "GHSA-aaaa-bbbb-cccc", "@scope/x"),
        ("CVE-2026-0001", "CVE-2026-0001", None),
        ("CVE-2026-0001-", "CVE-2026-0001-", None),
        ("CVE-2026-0001x-zlib", "CVE-2026-0001x-zlib", None),
        ("ALAS-2026-1-zlib", "ALAS-2026-1-zlib", None),
    ],
)
def test_id_of_grype_is_taken_apart_only_where_its_end_is_certain(
    name: str, issue: str, package: str | None
) -> None:
    (finding,) = one(sarif("Grype", {"ruleId": name})).findings
    assert finding.id == issue
    assert [found.name for found in finding.packages] == ([package] if package else [])
    assert finding.is_fixable


def test_help_of_another_rule_does_not_rename_a_finding() -> None:
    rule = _grype_rule("CVE-2026-0001", "zlib") | {"id": "GHSA-aaaa-bbbb-cccc-zlib"}
    (finding,) = one(sarif("Grype", {"ruleId": rule["id"]}, rules=[rule])).findings
    assert finding.id == "GHSA-aaaa-bbbb-cccc"
    other = sarif("Trivy", {"ruleId": "CVE-2026-0001-zlib"})
    assert one(other).findings[0].id == "CVE-2026-0001-zlib"


_RULES = [
    {"id": "CVE-2026-0001", "properties": {"security-severity": "9.1"}},
    {"id": "CVE-2026-0002", "properties": {"security-severity": "3.1"}},
]


@pytest.mark.parametrize(
    "result",
    [
        *({"ruleIndex": 0}, {"rule": {"index": 0}}, {"rule": {"id": "CVE-2026-0001"}}),
        *({"ruleId": "CVE-2026-0001", "ruleIndex": 1}, {"ruleId": "CVE-2026-0001"}),
        {"rule": {"index": 1, "toolComponent": {"index": 0}}},
    ],
)
def test_result_may_name_its_rule_by_its_place_in_the_list(result: dict[str, Any]) -> None:
    content = sarif("Trivy", result, rules=_RULES)
    content["runs"][0]["tool"]["extensions"] = [{"name": "more", "rules": _RULES[::-1]}]
    (finding,) = one(content).findings
    assert (finding.id, finding.severity) == ("CVE-2026-0001", Severity.CRITICAL)


@pytest.mark.parametrize(
    "result",
    [
        *({}, {"ruleIndex": 2}, {"ruleIndex": -1}, {"ruleIndex": True}, {"ruleIndex": "0"}),
        *({"rule": {"index": 0, "toolComponent": {"name": "?"}}}, {"ruleId": "", "ruleIndex": 9}),
    ],
)
def test_result_of_no_rule_is_malformed(result: dict[str, Any]) -> None:
    with refused("report-malformed"):
        read(sarif("Trivy", result, rules=_RULES))


def test_sarif_level_counts_where_there_is_no_score() -> None:
    content = document("trivy-vulnerable.sarif")
    for rule in content["runs"][0]["tool"]["driver"]["rules"]:
        del rule["properties"]
    found = by_id(one(content))
    assert found["CVE-2026-0001"].severity is Severity.HIGH
    assert found["CVE-2026-0002"].severity is Severity.LOW
    content["runs"][0]["results"][1]["level"] = "none"
    assert by_id(one(content))["CVE-2026-0002"].severity is Severity.UNKNOWN


# --- The advisor's --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda report: report,
        lambda report: [report],
        lambda report: {"assessments": {report["image"]: report}},
    ],
)
def test_advisors_report_is_read_in_all_its_forms(wrap: Callable[[Any], Any]) -> None:
    (claimed,) = read(wrap(ADVISOR))
    assert claimed.digests == {MANIFEST}
    assert claimed.report.status is ScanStatus.FAIL
    assert by_id(claimed.report)["CVE-2026-0001"].is_fixable


def test_advisors_report_that_names_no_image_is_about_none() -> None:
    (claimed,) = read({name: value for name, value in ADVISOR.items() if name != "image"})
    assert (claimed.digests, claimed.said) == (frozenset(), "no image at all")


def test_file_does_not_speak_for_the_account() -> None:
    (claimed,) = read(ADVISOR)
    source = claimed.report.source
    assert not source.keeps_exemptions
    assert source.name == LIVE.name
    assert str(source) != str(LIVE)
    unfinished = one({**ADVISOR, "status": "INCOMPLETE"}), one({**ADVISOR, "status": "NEW"})
    assert {report.source for report in unfinished} == {source}


@pytest.mark.parametrize("moment", [0, -1, 0.0])
def test_time_zero_is_no_time(moment: float) -> None:
    assert one({**ADVISOR, "scan_time": moment}).checked_at is None


@pytest.mark.parametrize("moment", [None, True, "1790000000", 1e30])
def test_what_is_no_time_is_malformed(moment: Any) -> None:
    with refused("report-malformed"):
        read({**ADVISOR, "scan_time": moment})


# --- Anything else --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b" ", b"{", b"null", b"[]", b"{}", b"0", b'"report"', b"\xff\xfe", b"NaN"),
        (REPORTS / "trivy-vulnerable.json").read_bytes()[:-100],
        (REPORTS / "trivy-vulnerable.json").read_bytes() + b"{}",
        (REPORTS / "trivy-vulnerable.json").read_bytes().replace(b"{", b'{"Results": [],', 1),
        b'{"SchemaVersion": 3, "ArtifactType": "container_image"}',
        b'{"version": "2.0.0", "runs": []}',
        b'{"matches": [], "descriptor": {"name": "other"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_malformed(content: bytes) -> None:
    with refused("report-malformed"):
        read_reports(content, "the file")


@pytest.mark.parametrize("name", ["trivy-vulnerable.json", "trivy-vulnerable.sarif"])
def test_report_may_begin_with_a_byte_order_mark(name: str) -> None:
    content = (REPORTS / name).read_bytes()
    assert read_reports(b"\xef\xbb\xbf" + content, "the file") == read_reports(content, "the file")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_malformed_and_powershells_has_a_hint(encoding: str) -> None:
    text = (REPORTS / "trivy-vulnerable.json").read_text(encoding="utf-8")
    with refused("report-malformed") as reasons:
        read_reports(text.encode(encoding), "the file")
    if encoding == "utf-16":
        assert "UTF-16" in reasons[0].text
        assert "--output" in reasons[0].hint


BASES: dict[str, Any] = {
    **{path.name: json.loads(path.read_bytes()) for path in sorted(REPORTS.glob("*.*f"))},
    **{path.name: json.loads(path.read_bytes()) for path in sorted(REPORTS.glob("*.json"))},
    "advisor": ADVISOR,
}
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**25, max_value=10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            *("\ud800", "\x1b[2J", "${x}", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
            *("2026-13-01", "sha256:" + "0" * 64, "FAIL", "none", "x" * 5000),
            *([], {}, [[]], [{}], [None], {"": None}, [0]),
        ]
    ),
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    members: Any = ()
    if isinstance(node, dict):
        members = node.items()
    elif isinstance(node, list):
        members = enumerate(node)
    for key, value in members:
        yield from _places(value, (*path, key))


def _read_or_refused(content: Any) -> list[ClaimedReport]:
    try:
        return read(content)
    except ImgsecError as error:
        if error.reason.code not in ("report-malformed", "report-partial"):
            raise
        return []


PLACES = [(name, path) for name, base in BASES.items() for path in _places(base)]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), _ODD), min_size=1, max_size=3), st.booleans())
def test_odd_member_anywhere_makes_a_reason_and_no_other_exception(
    changes: list[tuple[tuple[str, tuple[Any, ...]], Any]], removes: bool
) -> None:
    name = changes[0][0][0]
    content = copy.deepcopy(BASES[name])
    for (of, path), value in changes:
        if of != name:
            continue
        node = content
        try:
            for key in path[:-1]:
                node = node[key]
            if removes:
                del node[path[-1]]
            else:
                node[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    for claimed in _read_or_refused(content):
        for finding in claimed.report.findings:
            assert finding.id
            finding.summary.encode()
            assert len(finding.summary) <= 4000
            assert finding.severity in Severity
