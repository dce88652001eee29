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


@pytest.mark.parametrize(
    "change",
    [
        {"invocations": [{"executionSuccessful": False}]},
        {"results": None, "invocations": []},
    ],
)
def test_run_that_did_not_end_well_is_no_report(change: dict[str, Any]) -> None:
    content = document("trivy-vulnerable.sarif")
    content["runs"][0] |= change
    if "results" in change:
        del content["runs"][0]["results"]
    with refused("report-partial"):
        read(content)


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
