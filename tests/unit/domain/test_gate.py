# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from imgsec.domain.exemption import ACCOUNT, Exemption, IssueType, Ledger
from imgsec.domain.gate import (
    GateRules,
    JudgedScan,
    Mark,
    Mode,
    Treatment,
    Trust,
    combined,
    deploy_words,
    finding_keys,
    judge_manifest,
)
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.vulnerability import (
    ADVISOR,
    AffectedPackage,
    Distribution,
    Finding,
    IssueKind,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    ScanSubject,
    Severity,
    Source,
)
from imgsec.reasons import BASELINE_UNUSABLE, STALE_REPORT, Outcome

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SUBJECT = ScanSubject(ImageReference.parse("us.icr.io/team/app:1").at(Digest.of(b"manifest")))
TRIVY = Source("trivy", "0.76.0")
FIX = AffectedPackage("openssl", "3.0.11-1", "3.0.15-1", "Upgrade openssl")
OPEN = Finding("CVE-2026-1000", "bad", packages=(FIX,))
EXEMPT = Finding("CVE-2026-2000", "known", status=PolicyStatus.EXEMPT, packages=(FIX,))
BY_JANE = Exemption(
    "CVE-2026-1000", IssueType.CVE, ACCOUNT, "jane", "not reachable", date(2026, 5, 1)
)


def advisor(status: ScanStatus | str, *findings: Finding, **more: Any) -> ScanReport:
    return ScanReport(ADVISOR, status, findings, **more)


def trivy(*findings: Finding, **more: Any) -> ScanReport:
    status = ScanStatus.FAIL if findings else ScanStatus.OK
    return ScanReport(TRIVY, status, findings, **more)


def judge(*reports: ScanReport, ledger: Ledger | None = None, **rules: Any) -> JudgedScan:
    return judge_manifest(SUBJECT, reports, GateRules(**rules), ledger=ledger or Ledger(), now=NOW)


def marks(scan: JudgedScan) -> dict[str, str]:
    return {one.finding.id: str(one.mark) for one in scan.findings}


def codes(scan: JudgedScan) -> list[str]:
    return [reason.code for reason in scan.verdict.reasons]


@pytest.mark.parametrize(
    ("status", "findings", "outcome", "code"),
    [
        (ScanStatus.OK, (), Outcome.PASS, None),
        (ScanStatus.OK, (EXEMPT,), Outcome.PASS, None),
        (ScanStatus.WARN, (EXEMPT,), Outcome.PASS, None),
        (ScanStatus.WARN, (), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.FAIL, (OPEN,), Outcome.REFUSED, "finding-in-force"),
        (ScanStatus.FAIL, (EXEMPT, OPEN), Outcome.REFUSED, "finding-in-force"),
        (ScanStatus.FAIL, (), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.FAIL, (EXEMPT,), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.UNSUPPORTED, (), Outcome.UNDECIDED, "not-assessed"),
        (ScanStatus.INCOMPLETE, (), Outcome.UNDECIDED, "scan-incomplete"),
        (ScanStatus.UNSCANNED, (), Outcome.UNDECIDED, "scan-incomplete"),
        ("SOMETHING_NEW", (), Outcome.UNDECIDED, "scan-status-unknown"),
        ("ok", (), Outcome.UNDECIDED, "scan-status-unknown"),
        ("", (), Outcome.UNDECIDED, "scan-status-unknown"),
    ],
)
def test_verdict_by_status_and_findings(
    status: ScanStatus | str, findings: tuple[Finding, ...], outcome: Outcome, code: str | None
) -> None:
    scan = judge(advisor(status, *findings))
    assert scan.verdict.outcome is outcome
    assert set(codes(scan)) == ({code} if code else set())


@pytest.mark.parametrize("status", [ScanStatus.OK, ScanStatus.WARN])
def test_finding_in_force_under_a_good_word_is_undecided_and_shown(status: ScanStatus) -> None:
    scan = judge(advisor(status, OPEN))
    assert codes(scan) == ["scan-contradiction"]
    assert marks(scan) == {"CVE-2026-1000": "gated"}


def test_contradiction_of_one_source_does_not_hide_what_another_refuses() -> None:
    scan = judge(advisor(ScanStatus.OK, OPEN), trivy(OPEN))
    assert codes(scan) == ["scan-contradiction", "finding-in-force"]
    assert scan.verdict.outcome is Outcome.REFUSED


def test_every_known_status_has_a_verdict() -> None:
    for status in ScanStatus:
        assert judge(advisor(status)).verdict.outcome in (Outcome.PASS, Outcome.UNDECIDED)


def test_no_source_at_all_never_passes() -> None:
    assert codes(judge()) == ["nothing-checked"]


def test_refusal_says_what_and_where_and_what_helps_most() -> None:
    other = replace(OPEN, id="CVE-2026-1001", packages=(AffectedPackage("zlib", "1", "2"),))
    more = replace(OPEN, id="CVE-2026-1002", packages=(replace(FIX, fixed="3.0.9-1"),))
    (reason,) = judge(advisor(ScanStatus.FAIL, other, OPEN, more)).verdict.reasons
    assert reason.text.startswith("3 findings are in force: ")
    assert "CVE-2026-1000 (in openssl 3.0.11-1)" in reason.text
    assert reason.hint == "Upgrade openssl to 3.0.15-1: clears 2 of 3."


def test_finding_without_a_fix_is_hinted_at_by_its_action_or_at_all() -> None:
    practice = AffectedPackage("configuration", action="Switch it on")
    for packages, hint in (((practice,), "Switch it on"), ((), "Update the package")):
        (reason,) = judge(trivy(Finding("CVE-2026-1", packages=packages))).verdict.reasons
        assert reason.hint.startswith(hint)


def test_many_findings_are_counted_and_not_all_named() -> None:
    findings = [Finding(f"CVE-2026-{number}") for number in range(1000, 1500)]
    (reason,) = judge(advisor(ScanStatus.FAIL, *findings)).verdict.reasons
    assert "500 findings are in force" in reason.text
    assert reason.text.endswith("and 495 more")


# --- What the operator says ----------------------------------------------------------------------


def test_limit_counts_severities_of_whichever_source_knows_one() -> None:
    """The advisor has no severity: the second source's counts for its findings, too."""
    low = Finding("CVE-2026-1000", severity=Severity.LOW)
    high = Finding("CVE-2026-1001", severity=Severity.HIGH)
    scan = judge(advisor(ScanStatus.FAIL, OPEN), trivy(low, high), fail_on=Severity.HIGH)
    assert marks(scan) == {"CVE-2026-1001": "gated", "CVE-2026-1000": "below-limit"}
    assert [note.code for note in GateRules(fail_on=Severity.HIGH).notes] == ["fail-on"]


def test_unknown_severity_reaches_every_limit_unless_told() -> None:
    report = advisor(ScanStatus.FAIL, OPEN)
    assert not judge(report, fail_on=Severity.CRITICAL).verdict.passed
    assert judge(report, fail_on=Severity.CRITICAL, counts_unknown=False).verdict.passed


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("limit", [one for one in Severity if one is not Severity.UNKNOWN])
def test_limit_is_inclusive(severity: Severity, limit: Severity) -> None:
    scan = judge(trivy(Finding("CVE-2026-1", severity=severity)), fail_on=limit)
    reaches = severity is Severity.UNKNOWN or severity >= limit
    assert scan.verdict.passed is not reaches


def test_only_fixed_leaves_out_what_nobody_can_fix() -> None:
    unfixed = Finding("CVE-2026-1", packages=(AffectedPackage("zlib", "1"),))
    assert marks(judge(trivy(OPEN, unfixed), only_fixed=True)) == {
        "CVE-2026-1000": "gated",
        "CVE-2026-1": "no-fix",
    }


@pytest.mark.parametrize(
    ("days", "mark"), [(13, "in-grace"), (14, "gated"), (15, "gated"), (None, "gated")]
)
def test_grace_begins_when_the_fix_appeared(days: int | None, mark: str) -> None:
    since = None if days is None else NOW - timedelta(days=days)
    finding = replace(OPEN, packages=(replace(FIX, fixed_since=since),))
    scan = judge(trivy(finding), grace=timedelta(days=14))
    assert marks(scan) == {"CVE-2026-1000": mark}


def test_oldest_fix_ends_the_grace() -> None:
    young, old = (
        replace(FIX, name=name, fixed_since=NOW - timedelta(days=days))
        for name, days in (("a", 1), ("b", 20))
    )
    finding = replace(OPEN, packages=(young, old))
    assert marks(judge(trivy(finding), grace=timedelta(days=14))) == {"CVE-2026-1000": "gated"}


def test_finding_without_a_fix_has_no_grace() -> None:
    unfixed = Finding("CVE-2026-1", packages=(AffectedPackage("zlib", "1"),))
    assert marks(judge(trivy(unfixed), grace=timedelta(days=14))) == {"CVE-2026-1": "gated"}


def test_warn_mode_tells_and_passes_but_decides_nothing_else() -> None:
    scan = judge(trivy(OPEN), mode=Mode.WARN)
    assert scan.verdict.passed
    assert [note.code for note in scan.verdict.notes] == ["would-refuse"]
    assert deploy_words(scan.verdict) == "Deploy with Caution"
    undecided = judge(advisor(ScanStatus.INCOMPLETE), mode=Mode.WARN)
    assert undecided.verdict.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("treatment", "outcome", "code"),
    [
        (Treatment.UNDECIDED, Outcome.UNDECIDED, ["not-assessed"]),
        (Treatment.REFUSE, Outcome.REFUSED, ["assessment-required"]),
        (Treatment.PASS, Outcome.PASS, []),
    ],
)
def test_unsupported_image_is_treated_as_told(
    treatment: Treatment, outcome: Outcome, code: list[str]
) -> None:
    scan = judge(advisor(ScanStatus.UNSUPPORTED), unsupported=treatment)
    assert (scan.verdict.outcome, codes(scan)) == (outcome, code)


def test_unsupported_image_that_another_source_assessed_is_assessed() -> None:
    unsupported = advisor(ScanStatus.UNSUPPORTED)
    notes = judge(unsupported, trivy()).verdict.notes
    assert [note.code for note in notes] == ["source-unsupported"]
    assert judge(unsupported, trivy()).verdict.passed
    assert codes(judge(unsupported, trivy(OPEN))) == ["finding-in-force"]
    assert codes(judge(unsupported, replace(trivy(), status=ScanStatus.UNSUPPORTED))) == [
        "not-assessed"
    ]


def test_every_source_must_have_finished() -> None:
    assert codes(judge(trivy(), advisor(ScanStatus.INCOMPLETE))) == ["scan-incomplete"]


OLD = Distribution("debian", "9")


@pytest.mark.parametrize(
    ("treatment", "outcome"),
    [
        (Treatment.UNDECIDED, Outcome.UNDECIDED),
        (Treatment.REFUSE, Outcome.REFUSED),
        (Treatment.PASS, Outcome.PASS),
    ],
)
def test_distribution_past_its_end_is_treated_as_told(
    treatment: Treatment, outcome: Outcome
) -> None:
    scan = judge(advisor(ScanStatus.OK, distribution=OLD), end_of_life=treatment)
    assert scan.verdict.outcome is outcome


def test_end_of_life_does_not_hide_what_refuses() -> None:
    scan = judge(advisor(ScanStatus.FAIL, OPEN, distribution=OLD))
    assert codes(scan) == ["distribution-end-of-life", "finding-in-force"]
    assert scan.verdict.outcome is Outcome.REFUSED


def test_end_of_life_comes_from_the_operator_first_and_the_scanner_last() -> None:
    wolfi = Distribution("wolfi", "2023")
    ended = advisor(ScanStatus.OK, distribution=OLD)
    assert judge(ended, last_days={"debian 9": date(2030, 1, 1)}).verdict.passed
    assert not judge(
        advisor(ScanStatus.OK, distribution=wolfi), last_days={"wolfi 2023": date(2024, 1, 1)}
    ).verdict.passed
    assert codes(judge(trivy(distribution=wolfi, is_end_of_life=True))) == [
        "distribution-end-of-life"
    ]
    assert judge(trivy(distribution=wolfi, is_end_of_life=False)).verdict.passed
    # A scanner's word goes before our own table, which may be older.
    alive = Distribution("debian", "12")
    assert not judge(trivy(distribution=alive, is_end_of_life=True)).verdict.passed
    assert judge(trivy(distribution=wolfi)).verdict.passed


def test_what_the_baseline_has_does_not_refuse() -> None:
    new = replace(OPEN, id="CVE-2026-1001")
    known = finding_keys([trivy(OPEN)])
    scan = judge_manifest(
        SUBJECT, [trivy(OPEN, new)], GateRules(), ledger=Ledger(), now=NOW, known=known
    )
    assert marks(scan) == {"CVE-2026-1000": "in-baseline", "CVE-2026-1001": "gated"}


def test_known_issue_in_a_further_package_is_new() -> None:
    known = finding_keys([trivy(OPEN)])
    spread = replace(OPEN, packages=(FIX, AffectedPackage("libssl3", "3")))
    scan = judge_manifest(
        SUBJECT, [trivy(spread)], GateRules(), ledger=Ledger(), now=NOW, known=known
    )
    assert marks(scan) == {"CVE-2026-1000": "gated"}


# --- Exemptions ----------------------------------------------------------------------------------


def test_exemption_of_the_ledger_counts_with_its_owner() -> None:
    scan = judge(advisor(ScanStatus.FAIL, OPEN), ledger=Ledger((BY_JANE,)))
    (one,) = scan.findings
    assert scan.verdict.passed
    assert (one.mark, one.status, one.is_ownerless) == (Mark.EXEMPT, PolicyStatus.EXEMPT, False)
    assert one.exemptions == (BY_JANE,)


def test_exemption_in_the_advisor_counts_and_is_shown_as_ownerless() -> None:
    scan = judge(advisor(ScanStatus.WARN, EXEMPT))
    assert scan.verdict.passed
    assert scan.findings[0].is_ownerless
    assert [note.code for note in scan.verdict.notes] == ["findings-exempt", "ownerless-exemption"]


def test_ledger_only_counts_nothing_but_the_ledger() -> None:
    strict = {"trust": Trust.LEDGER}
    scan = judge(advisor(ScanStatus.WARN, EXEMPT), **strict)
    assert codes(scan) == ["finding-in-force"]
    assert scan.findings[0].status is PolicyStatus.ACTIVE
    assert [note.code for note in scan.verdict.notes] == ["source-not-trusted"]
    entry = replace(BY_JANE, issue="CVE-2026-2000")
    assert judge(advisor(ScanStatus.WARN, EXEMPT), ledger=Ledger((entry,)), **strict).verdict.passed
    notices = (Notice("DSA-1-1", exempt=True), Notice("DSA-2-1"))
    mixed = replace(OPEN, packages=(), status=PolicyStatus.PARTIAL, notices=notices)
    entry = replace(BY_JANE, issue="DSA-2-1", type=IssueType.NOTICE)
    whole = judge(advisor(ScanStatus.FAIL, mixed), ledger=Ledger((entry,)))
    half = judge(advisor(ScanStatus.FAIL, mixed), ledger=Ledger((entry,)), **strict)
    assert (whole.findings[0].status, half.findings[0].status) == (
        PolicyStatus.EXEMPT,
        PolicyStatus.PARTIAL,
    )
    assert codes(half) == ["finding-in-force"]


def test_exemption_that_ended_is_the_second_reason() -> None:
    over = replace(BY_JANE, expires=date(2026, 4, 30))
    scan = judge(advisor(ScanStatus.FAIL, OPEN), ledger=Ledger((over,)))
    assert codes(scan) == ["finding-in-force", "exemption-expired"]
    assert "until 2026-04-30, by jane" in scan.verdict.reasons[1].text


def test_exemption_of_the_account_holds_for_what_a_scanner_finds() -> None:
    by_scanner = replace(EXEMPT, status=PolicyStatus.ACTIVE)
    assert judge(advisor(ScanStatus.WARN, EXEMPT), trivy(by_scanner)).verdict.passed


def test_scanner_s_own_suppression_hides_nothing_that_the_advisor_has_in_force() -> None:
    hidden = replace(OPEN, status=PolicyStatus.EXEMPT)
    scan = judge(advisor(ScanStatus.FAIL, OPEN), ScanReport(TRIVY, ScanStatus.OK, (hidden,)))
    assert codes(scan) == ["finding-in-force"]


def test_suppression_by_one_of_two_scanners_does_not_exempt() -> None:
    hidden = ScanReport(TRIVY, ScanStatus.OK, (replace(OPEN, status=PolicyStatus.EXEMPT),))
    shown = ScanReport(Source("grype"), ScanStatus.FAIL, (OPEN,))
    for trust in Trust:
        assert codes(judge(hidden, shown, trust=trust)) == ["finding-in-force"]


@pytest.mark.parametrize(
    "hidden",
    [
        replace(OPEN, status=PolicyStatus.EXEMPT),
        replace(OPEN, status=PolicyStatus.EXEMPT, notices=(Notice("DSA-1", exempt=True),)),
    ],
)
def test_what_a_report_suppresses_counts_only_where_that_is_asked_for(hidden: Finding) -> None:
    report = ScanReport(TRIVY, ScanStatus.OK, (hidden,))
    for trust in (Trust.LEDGER, Trust.ADVISOR):
        scan = judge(report, trust=trust)
        assert codes(scan) == ["finding-in-force"]
        assert scan.findings[0].status is PolicyStatus.ACTIVE
        (note,) = scan.verdict.notes
        assert (note.code, "CVE-2026-1000" in note.text) == ("source-not-trusted", True)
    assert judge(report, trust=Trust.SOURCES).verdict.passed
    assert [note.code for note in GateRules(trust=Trust.SOURCES).notes] == ["sources-trusted"]


def test_notice_that_the_advisor_exempts_is_exempt_whoever_names_it_too() -> None:
    exempt = replace(EXEMPT, notices=(Notice("DSA-1", exempt=True),))
    named = replace(exempt, status=PolicyStatus.ACTIVE, notices=(Notice("DSA-1"),))
    for reports in (
        [advisor(ScanStatus.WARN, exempt), trivy(named)],
        [trivy(named), advisor(ScanStatus.WARN, exempt)],
    ):
        (one,) = judge(*reports).findings
        assert one.finding.notices == (Notice("DSA-1", exempt=True),)


def test_partial_status_stays_in_force_and_in_sight() -> None:
    notices = (Notice("DSA-1", exempt=True), Notice("DSA-2"))
    partial = replace(OPEN, status=PolicyStatus.PARTIAL, notices=notices)
    (one,) = judge(advisor(ScanStatus.FAIL, partial)).findings
    assert (one.mark, one.status) == (Mark.GATED, PolicyStatus.PARTIAL)


NPM = AffectedPackage("npm-lib", "1")


def test_notices_that_the_advisor_exempts_free_the_packages_that_they_are_about() -> None:
    """The CVE is exempt there since each of its notices is, and a scanner has it elsewhere."""
    own = AffectedPackage("libexpat1", "2", notices=("DSA-7-1",))
    notices = (Notice("DSA-7-1", exempt=True),)
    finding = Finding("CVE-2026-7", status=PolicyStatus.EXEMPT, notices=notices, packages=(own,))
    by_notices = advisor(ScanStatus.WARN, replace(finding, by_notices=True))
    elsewhere = trivy(Finding("CVE-2026-7", packages=(NPM,)))
    assert judge(by_notices).verdict.passed
    (one,) = judge(by_notices, elsewhere).findings
    assert (one.mark, one.status) == (Mark.GATED, PolicyStatus.PARTIAL)
    assert judge(advisor(ScanStatus.WARN, finding), elsewhere).verdict.passed, "the CVE itself is"


def test_other_name_of_a_finding_frees_the_packages_that_a_source_has_under_it() -> None:
    advisory = "GHSA-aaaa-bbbb-cccc"
    entry = replace(BY_JANE, issue=advisory, type=IssueType.NOTICE)
    grype = Finding(advisory, packages=(NPM,), aliases=("CVE-2026-1000",))
    named = ScanReport(Source("grype"), ScanStatus.FAIL, (grype,))
    assert judge(named, ledger=Ledger((entry,))).verdict.passed
    for scan in (
        judge(named, trivy(OPEN), ledger=Ledger((entry,))),
        judge(trivy(OPEN), named, ledger=Ledger((entry,))),
    ):
        (one,) = scan.findings
        assert (one.mark, one.status) == (Mark.GATED, PolicyStatus.PARTIAL)
    assert judge(named, trivy(OPEN), ledger=Ledger((BY_JANE,))).verdict.passed


NOWHERE = replace(OPEN, packages=(), knows_fixes=False)  # as some SARIF has it


@pytest.mark.parametrize("swapped", [False, True])
def test_package_that_one_source_names_is_not_all_that_another_means(swapped: bool) -> None:
    """A finding without a place may be in any: what is limited to packages does not hold for it."""
    unfixed = replace(OPEN, packages=(AffectedPackage("openssl", "3", knows_fix=True),))
    fresh = replace(FIX, fixed_since=NOW - timedelta(days=1))
    entry = replace(BY_JANE, packages=("openssl",))

    def both(other: Finding) -> list[ScanReport]:
        reports = [ScanReport(Source("snyk"), ScanStatus.FAIL, (NOWHERE,)), trivy(other)]
        return reports[::-1] if swapped else reports

    assert marks(judge(*both(OPEN), ledger=Ledger((entry,)))) == {"CVE-2026-1000": "gated"}
    assert marks(judge(*both(unfixed), only_fixed=True)) == {"CVE-2026-1000": "gated"}
    young = replace(OPEN, packages=(fresh,))
    assert marks(judge(*both(young), grace=timedelta(days=14))) == {"CVE-2026-1000": "gated"}
    for known, mark in (([trivy(OPEN)], "gated"), (both(OPEN), "in-baseline")):
        scan = judge_manifest(
            *(SUBJECT, both(OPEN), GateRules()),
            ledger=Ledger(),
            now=NOW,
            known=finding_keys(known),
        )
        assert marks(scan) == {"CVE-2026-1000": mark}
    assert judge(*both(OPEN), ledger=Ledger((BY_JANE,))).verdict.passed
    notice = replace(BY_JANE, issue="DSA-1-1", type=IssueType.NOTICE)
    told = replace(
        OPEN, notices=(Notice("DSA-1-1"),), packages=(replace(FIX, notices=("DSA-1-1",)),)
    )
    assert judge(trivy(told), ledger=Ledger((notice,))).verdict.passed
    assert marks(judge(*both(told), ledger=Ledger((notice,)))) == {"CVE-2026-1000": "gated"}


def test_nobody_says_that_there_is_no_fix_of_what_has_no_package() -> None:
    nowhere = replace(OPEN, packages=())
    assert marks(judge(advisor(ScanStatus.FAIL, nowhere), only_fixed=True)) == {
        "CVE-2026-1000": "gated"
    }


@pytest.mark.parametrize("swapped", [False, True])
def test_kind_does_not_depend_on_who_comes_first(swapped: bool) -> None:
    secret = Finding("aws-key", kind=IssueKind.CONFIGURATION, packages=(AffectedPackage("/a"),))
    reports = [trivy(secret), trivy(replace(secret, kind=IssueKind.VULNERABILITY))]
    entry = replace(BY_JANE, issue="aws-key", type=IssueType.CONFIGURATION)
    scan = judge(*(reports[::-1] if swapped else reports), ledger=Ledger((entry,)))
    assert codes(scan) == ["finding-in-force"]


def test_exemption_that_ended_is_told_beside_the_baseline() -> None:
    over = replace(BY_JANE, expires=date(2026, 4, 30))
    scan = judge_manifest(
        *(SUBJECT, [trivy(OPEN)], GateRules()),
        ledger=Ledger((over,)),
        now=NOW,
        known=finding_keys([trivy(OPEN)]),
    )
    assert scan.verdict.passed
    assert [note.code for note in scan.verdict.notes] == ["exemption-expired"]


def test_honest_source_of_the_same_name_is_not_doubted() -> None:
    scan = judge(advisor(ScanStatus.OK, OPEN), advisor(ScanStatus.FAIL, OPEN))
    assert codes(scan) == ["scan-contradiction", "finding-in-force"]


# --- Several sources -----------------------------------------------------------------------------


def test_sources_are_combined_under_the_cve() -> None:
    ghsa = Finding(
        "GHSA-1111",
        severity=Severity.HIGH,
        link="https://example.com",
        aliases=("CVE-2026-1000",),
        packages=(AffectedPackage("openssl", "3.0.11-1"), AffectedPackage("pip", "1", "2")),
    )
    (found,) = combined([advisor(ScanStatus.FAIL, OPEN), trivy(ghsa)])
    finding = found.finding
    assert found.sources == ("vulnerability-advisor v4", "trivy 0.76.0")
    assert (finding.id, finding.aliases) == ("CVE-2026-1000", ("GHSA-1111",))
    assert (finding.severity, finding.link) == (Severity.HIGH, "https://example.com")
    assert {part.name: part.fixed for part in finding.packages} == {
        "openssl": "3.0.15-1",
        "pip": "2",
    }


def test_advisory_about_several_cves_is_no_other_name_of_any() -> None:
    """An exemption of one, in the ledger or in the advisor, leaves the others in force."""
    both = Finding(
        "ALAS-1",
        packages=(FIX,),
        aliases=("CVE-2026-1000", "CVE-2026-2000"),
        severity=Severity.CRITICAL,
    )
    scan = judge(trivy(both), ledger=Ledger((BY_JANE,)))
    assert marks(scan) == {"CVE-2026-1000": "exempt", "CVE-2026-2000": "gated"}
    scan = judge(advisor(ScanStatus.WARN, EXEMPT), trivy(both))
    assert marks(scan) == {"CVE-2026-1000": "gated", "CVE-2026-2000": "exempt"}
    notice = replace(BY_JANE, issue="ALAS-1", type=IssueType.NOTICE)
    assert judge(trivy(both), ledger=Ledger((notice,))).verdict.passed


def test_known_fix_counts_and_an_unknown_one_is_no_missing_one() -> None:
    unsaid = Finding("CVE-2026-1", knows_fixes=False)
    assert marks(judge(trivy(unsaid), only_fixed=True)) == {"CVE-2026-1": "gated"}


def test_grace_is_no_longer_than_it_says() -> None:
    """Neither for a fix of the future, nor for one at the end of time."""
    for since in (NOW + timedelta(days=1), datetime.max.replace(tzinfo=UTC)):
        finding = replace(OPEN, packages=(replace(FIX, fixed_since=since),))
        assert marks(judge(trivy(finding), grace=timedelta(days=14))) == {"CVE-2026-1000": "gated"}


def test_trouble_with_one_source_hides_nothing_of_the_others() -> None:
    trouble = STALE_REPORT("old")
    scan = judge_manifest(
        SUBJECT, [trivy(OPEN)], GateRules(), ledger=Ledger(), now=NOW, troubles=[trouble]
    )
    assert codes(scan) == ["stale-report", "finding-in-force"]
    nothing = judge_manifest(SUBJECT, [], GateRules(), ledger=Ledger(), now=NOW, troubles=[trouble])
    assert codes(nothing) == ["stale-report"]


def test_unknown_baseline_leaves_open_what_refuses_and_shows_it() -> None:
    scan = judge_manifest(
        SUBJECT,
        [trivy(OPEN)],
        GateRules(),
        ledger=Ledger(),
        now=NOW,
        known=BASELINE_UNUSABLE("gone"),
    )
    assert (codes(scan), marks(scan)) == (["baseline-unusable"], {"CVE-2026-1000": "gated"})


@pytest.mark.parametrize("field", ["unsupported", "end_of_life"])
def test_warn_mode_warns_of_everything_that_would_refuse(field: str) -> None:
    status = ScanStatus.UNSUPPORTED if field == "unsupported" else ScanStatus.OK
    report = advisor(status, distribution=OLD)
    other = {"unsupported": Treatment.PASS, "end_of_life": Treatment.PASS, field: Treatment.REFUSE}
    assert judge(report, **other).verdict.outcome is Outcome.REFUSED
    warned = judge(report, mode=Mode.WARN, **other)
    assert warned.verdict.passed
    assert deploy_words(warned.verdict) == "Deploy with Caution"


def test_worst_finding_comes_first() -> None:
    findings = [
        Finding(f"CVE-2026-{number}", severity=severity)
        for number, severity in ((1, Severity.LOW), (2, Severity.CRITICAL), (3, Severity.UNKNOWN))
    ]
    assert [one.finding.id[-1] for one in combined([trivy(*findings)])] == ["2", "1", "3"]


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (judge(trivy()), "OK to Deploy"),
        (judge(trivy(OPEN)), "Deployment Blocked"),
        (judge(), "Deployment Blocked (undecided)"),
    ],
)
def test_verdict_has_words_of_the_advisor(scan: JudgedScan, words: str) -> None:
    assert deploy_words(scan.verdict) == words


def test_everything_that_loosens_is_on_record() -> None:
    rules = GateRules(
        fail_on=Severity.HIGH,
        counts_unknown=False,
        only_fixed=True,
        grace=timedelta(days=3),
        unsupported=Treatment.PASS,
        end_of_life=Treatment.PASS,
        mode=Mode.WARN,
        last_days={"debian 9": date(2030, 1, 1)},
    )
    assert len(rules.notes) == 8
    assert GateRules().notes == ()
