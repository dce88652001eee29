# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4: a report as its API gives it, and the files that hold such ones.

A report does not name its image. An account's report does, by the keys of ``assessments``, and so
does what ``ibmcloud cr va --output json`` writes: a list of reports with a member ``image``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imgsec.adapters.scan_reports import ClaimedReport, ReportFormat
from imgsec.adapters.scan_reports._parts import as_mapping, as_text, digests_in, listed
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
    Source,
    merged_packages,
)

# A file may be anybody's: what it calls exempt does not free what others find, nor on its word what
# it finds itself.
_FILE = Source(ADVISOR.name, f"{ADVISOR.version} file")
_WORD_MAX_CHARS = 40  # of a status that nobody knows; it goes into results and logs


def read_report(document: Any, source: Source = ADVISOR) -> ScanReport:
    """One report; of a finished scan every member must be there, as IBM's model says.

    Half an answer (``{"status": "OK"}`` is what many a health page says) finds nothing, and must
    not pass for an image in which nothing was found. Raises `MALFORMED`.
    """
    word = _text(document["status"])
    if word not in ScanStatus.__members__:
        return ScanReport(source, word[:_WORD_MAX_CHARS])
    status = ScanStatus(word)
    if not status.is_finished:
        return ScanReport(source, status)
    _text(document["id"])
    found = document["os_distribution"]
    findings = [_finding(item) for item in listed(document["vulnerabilities"])]
    issues = [_configuration(item) for item in listed(document["configuration_issues"])]
    return ScanReport(
        source,
        status,
        findings=(*findings, *issues),
        distribution=Distribution(
            as_text(found.get("distribution_id")), as_text(found.get("version_id"))
        ),
        checked_at=_time(document["scan_time"]),
    )


def _finding(item: Mapping[str, Any]) -> Finding:
    """One vulnerability; "exempt" counts only where its own details say the same."""
    notices = listed(item["security_notices"])
    status = PolicyStatus(_text(item["exempt_status"]))
    exempt = [notice["notice_exempt"] is True for notice in notices]
    is_exempt = item["cve_exempt"] is True or (bool(exempt) and all(exempt))
    if status is PolicyStatus.EXEMPT and not is_exempt:
        status = PolicyStatus.PARTIAL if any(exempt) else PolicyStatus.ACTIVE
    return Finding(
        id=_text(item["cve_id"]),
        summary=as_text(item.get("summary")),
        status=status,
        by_notices=status is PolicyStatus.EXEMPT and item["cve_exempt"] is not True,
        notices=tuple(
            Notice(_text(notice["notice_id"]), as_text(notice.get("notice")), one)
            for notice, one in zip(notices, exempt, strict=True)
        ),
        packages=merged_packages(
            AffectedPackage(
                name=_text(package["package_name"]),
                installed=as_text(package.get("installed_version")),
                fixed=as_text(package.get("fix_version")),
                action=as_text(package.get("corrective_action")),
                notices=(_text(notice["notice_id"]),),
            )
            for notice in notices
            for package in listed(notice.get("vulnerable_packages") or [])
        ),
    )


def _configuration(item: Mapping[str, Any]) -> Finding:
    """A configuration issue; v4 lists none, so one that is there is taken seriously."""
    action = as_text(item.get("corrective_action"))
    return Finding(
        id=_text(item["type"]),
        summary=as_text(item.get("description")),
        kind=IssueKind.CONFIGURATION,
        status=PolicyStatus.EXEMPT if item["exempt"] is True else PolicyStatus.ACTIVE,
        packages=(AffectedPackage("configuration", action=action),) if action else (),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return as_text(value)


def _time(value: object) -> datetime | None:
    """A time in Unix seconds; None for 0, which the service writes for no time.

    Raises `MALFORMED`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} instead of a time")
    return datetime.fromtimestamp(value, UTC) if value > 0 else None


def _is_report(document: Any) -> bool:
    return isinstance(document, dict) and "status" in document and "vulnerabilities" in document


def _named_reports(document: Any) -> list[tuple[str, Any]]:
    if isinstance(document, list):
        return [(as_text(as_mapping(item).get("image")), item) for item in document]
    if "assessments" in document:
        return list(as_mapping(document["assessments"]).items())
    return [(as_text(document.get("image")), document)]


def _recognises(document: Any) -> bool:
    if isinstance(document, list):
        return bool(document) and all(_is_report(item) for item in document)
    return isinstance(document, dict) and ("assessments" in document or _is_report(document))


def _read(document: Any) -> list[ClaimedReport]:
    return [
        ClaimedReport(digests_in([name]), name or "no image at all", read_report(report, _FILE))
        for name, report in _named_reports(document)
    ]


FORMAT = ReportFormat("Vulnerability Advisor's", _recognises, _read)
