# SPDX-License-Identifier: Apache-2.0
"""The gate: from a scan's report to a verdict. Findings decide, not the status word."""

from __future__ import annotations

from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.vulnerability import Finding, ScanReport, ScanStatus
from imgsec.reasons import (
    FINDING_IN_FORCE,
    NOT_ASSESSED,
    SCAN_CONTRADICTION,
    SCAN_INCOMPLETE,
    SCAN_STATUS_UNKNOWN,
    Reason,
)


def judge_scan(report: ScanReport) -> Verdict:
    """Every finding in force refuses; an unfinished, unsupported or unknown scan is undecided.

    A status that its own findings contradict is undecided too: OK or WARN with a finding in force,
    FAIL without one.
    """
    status = report.status
    if not isinstance(status, ScanStatus):
        return because(SCAN_STATUS_UNKNOWN(f"the advisor's status is {shown(status)}"))
    if not status.is_finished:
        return because(SCAN_INCOMPLETE(f"the scan is {status.lower()}"))
    if status is ScanStatus.UNSUPPORTED:
        return because(NOT_ASSESSED("the advisor does not support the image's distribution"))
    if status is ScanStatus.FAIL and not report.in_force:
        return because(SCAN_CONTRADICTION("the status is FAIL and no finding is in force"))
    if status is not ScanStatus.FAIL and report.in_force:
        listed = ", ".join(finding.id for finding in report.in_force[:5])
        return because(SCAN_CONTRADICTION(f"the status is {status} although {listed} is in force"))
    if report.in_force:
        return because(*(_in_force(finding) for finding in report.in_force))
    exempt = len(report.findings)
    if exempt:
        return passed(Note("findings-exempt", f"{exempt} finding(s) are exempt in the advisor"))
    return passed()


def _in_force(finding: Finding) -> Reason:
    where = ", ".join(f"{fix.package} {fix.installed}" for fix in finding.fixes[:3])
    actions = "; ".join(dict.fromkeys(_action(finding)))
    text = f"{finding.id} is in force" + (f" in {where}" if where else "")
    return FINDING_IN_FORCE(text, hint=actions or None)


def _action(finding: Finding) -> list[str]:
    return [
        fix.action or f"Upgrade {fix.package} to {fix.fixed}"
        for fix in finding.fixes
        if fix.action or fix.fixed
    ]
