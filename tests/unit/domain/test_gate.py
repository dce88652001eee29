# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from imgsec.domain.gate import judge_scan
from imgsec.domain.vulnerability import Finding, Fix, ScanReport, ScanStatus
from imgsec.reasons import Outcome

FIX = Fix("openssl", "3.0.11-1", "3.0.15-1", "Upgrade openssl")
OPEN = Finding("CVE-2026-1", "bad", exempt=False, fixes=(FIX,))
EXEMPT = Finding("CVE-2026-2", "known", exempt=True, fixes=(FIX,))


@pytest.mark.parametrize(
    ("status", "findings", "outcome", "code"),
    [
        (ScanStatus.OK, (), Outcome.PASS, None),
        (ScanStatus.OK, (EXEMPT,), Outcome.PASS, None),
        (ScanStatus.WARN, (EXEMPT,), Outcome.PASS, None),
        (ScanStatus.WARN, (), Outcome.PASS, None),
        (ScanStatus.FAIL, (OPEN,), Outcome.REFUSED, "finding-in-force"),
        (ScanStatus.FAIL, (EXEMPT, OPEN), Outcome.REFUSED, "finding-in-force"),
        (ScanStatus.FAIL, (), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.FAIL, (EXEMPT,), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.OK, (OPEN,), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.WARN, (OPEN, EXEMPT), Outcome.UNDECIDED, "scan-contradiction"),
        (ScanStatus.UNSUPPORTED, (), Outcome.UNDECIDED, "not-assessed"),
        (ScanStatus.UNSUPPORTED, (OPEN,), Outcome.UNDECIDED, "not-assessed"),
        (ScanStatus.INCOMPLETE, (), Outcome.UNDECIDED, "scan-incomplete"),
        (ScanStatus.UNSCANNED, (), Outcome.UNDECIDED, "scan-incomplete"),
        ("SOMETHING_NEW", (), Outcome.UNDECIDED, "scan-status-unknown"),
        ("BLOCK", (OPEN,), Outcome.UNDECIDED, "scan-status-unknown"),
        ("ok", (), Outcome.UNDECIDED, "scan-status-unknown"),
        ("", (), Outcome.UNDECIDED, "scan-status-unknown"),
    ],
)
def test_verdict_by_status_and_findings(
    status: ScanStatus | str, findings: tuple[Finding, ...], outcome: Outcome, code: str | None
) -> None:
    verdict = judge_scan(ScanReport(status, findings))
    assert verdict.outcome is outcome
    assert {reason.code for reason in verdict.reasons} == ({code} if code else set())


def test_every_known_status_has_a_verdict() -> None:
    for status in ScanStatus:
        assert judge_scan(ScanReport(status)).outcome in (Outcome.PASS, Outcome.UNDECIDED)


def test_refusal_says_which_package_and_what_to_do() -> None:
    (reason,) = judge_scan(ScanReport(ScanStatus.FAIL, (OPEN,))).reasons
    assert "CVE-2026-1" in reason.text
    assert "openssl 3.0.11-1" in reason.text
    assert reason.hint == "Upgrade openssl"


def test_finding_without_a_known_fix_still_has_a_hint() -> None:
    (reason,) = judge_scan(ScanReport(ScanStatus.FAIL, (Finding("CVE-1", "", False),))).reasons
    assert reason.hint


def test_exempt_findings_are_on_record() -> None:
    notes = judge_scan(ScanReport(ScanStatus.WARN, (EXEMPT, EXEMPT))).notes
    assert [note.code for note in notes] == ["findings-exempt"]
    assert "2" in notes[0].text
