# SPDX-License-Identifier: Apache-2.0
"""SARIF 2.1.0, as scanners of images write it: each run is one report.

The standard has no member for the image. Trivy keeps ``imageID`` and ``repoDigests`` among the
properties of the run, imgsec ``imageDigest``; a digest in ``automationDetails.id`` counts as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgsec.adapters.scan_reports import ClaimedReport, ReportFormat
from imgsec.adapters.scan_reports._parts import (
    as_list,
    as_mapping,
    as_text,
    as_time,
    digests_in,
    needed,
    unsaid,
)
from imgsec.domain.reference import shown
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    Severity,
    Source,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import REPORT_PARTIAL

_SCORE_MAX = 10.0  # CVSS
# Whose empty list means that no vulnerability was found; a linter's says nothing of the kind.
_SCANNERS = (
    *("anchore", "aqua", "clair", "docker scout", "grype", "imgsec", "neuvector", "prisma"),
    *("qualys", "snyk", "sysdig", "trivy", "twistlock", "wiz", "xray"),
)
_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW}
# Trivy's messages, `pkg/report/sarif.go`: a line for each.
_LINE = re.compile(r"^(Package|Installed Version|Fixed Version): (.*)$", re.MULTILINE)


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and "runs" in document and "version" in document


def _read(document: Any) -> list[ClaimedReport]:
    if document["version"] != "2.1.0":
        raise ValueError(f"version {document['version']!r}")
    return [_run(as_mapping(run)) for run in as_list(document["runs"])]


def _run(run: Mapping[str, Any]) -> ClaimedReport:
    properties = as_mapping(run.get("properties"))
    name = as_text(as_mapping(run.get("automationDetails")).get("id"))
    named = [properties.get("imageID"), properties.get("imageDigest"), name]
    digests = digests_in([*named, *as_list(properties.get("repoDigests"))])
    driver = as_mapping(as_mapping(run["tool"])["driver"])
    invocations = [as_mapping(one) for one in as_list(run.get("invocations"))]
    if any(one.get("executionSuccessful") is False for one in invocations):
        raise ImgsecError(REPORT_PARTIAL("the run that the SARIF report is of did not succeed"))
    if "results" not in run:  # null, or missing: the standard's words for "it did not look"
        raise ImgsecError(REPORT_PARTIAL("the SARIF report has no results, not even an empty list"))
    times = [as_time(one.get("endTimeUtc") or one.get("startTimeUtc")) for one in invocations]
    known = [moment for moment in times if moment is not None]
    findings = tuple(_findings(run, driver))
    in_force = any(finding.status is not PolicyStatus.EXEMPT for finding in findings)
    said = as_text(properties.get("imageName")) or name or "no image at all"
    tool = needed(driver["name"]).lower()
    report = ScanReport(
        Source(tool, as_text(driver.get("version"))),
        _status(tool, findings, in_force=in_force),
        findings,
        made_at=max(known) if known else None,
        remarks=(unsaid(shown(tool)),),
    )
    return ClaimedReport(digests, said, report)


def _status(tool: str, findings: Sequence[Finding], *, in_force: bool) -> ScanStatus:
    if in_force:
        return ScanStatus.FAIL
    looked = bool(findings) or any(name in tool for name in _SCANNERS)
    return ScanStatus.OK if looked else ScanStatus.UNSUPPORTED


def _findings(run: Mapping[str, Any], driver: Mapping[str, Any]) -> Iterator[Finding]:
    rules = {rule["id"]: as_mapping(rule) for rule in as_list(driver.get("rules"))}
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for result in as_list(run.get("results")):
        parts.setdefault(needed(_rule_id(result)), []).append(result)
    for issue, results in parts.items():
        yield _finding(issue, results, rules.get(issue, {}))


def _rule_id(result: Mapping[str, Any]) -> object:
    return result.get("ruleId") or as_mapping(result.get("rule")).get("id")


def _finding(issue: str, results: list[Mapping[str, Any]], rule: Mapping[str, Any]) -> Finding:
    hidden = [_is_suppressed(result) for result in results]
    status = PolicyStatus.EXEMPT if all(hidden) else PolicyStatus.ACTIVE
    if any(hidden) and not all(hidden):
        status = PolicyStatus.PARTIAL
    packages = [_package(as_text(_message(result))) for result in results]
    return Finding(
        id=issue,
        summary=as_text(as_mapping(rule.get("shortDescription")).get("text")) or issue,
        severity=_severity(results, rule),
        link=as_text(rule.get("helpUri")),
        status=status,
        packages=tuple(dict.fromkeys(one for one in packages if one is not None)),
        knows_fixes=bool(packages) and all(one is not None for one in packages),
    )


def _message(result: Mapping[str, Any]) -> object:
    return as_mapping(result.get("message")).get("text")


def _is_suppressed(result: Mapping[str, Any]) -> bool:
    """Accepted by somebody; under review, or rejected, it is in force (SARIF 2.1.0, 3.35.3)."""
    suppressions = as_list(result.get("suppressions"))
    return bool(suppressions) and all(
        as_mapping(one).get("status", "accepted") == "accepted" for one in suppressions
    )


def _severity(results: list[Mapping[str, Any]], rule: Mapping[str, Any]) -> Severity:
    score = as_mapping(rule.get("properties")).get("security-severity")
    if isinstance(score, str | int | float) and not isinstance(score, bool):
        number = float(score)
        if 0 < number <= _SCORE_MAX:  # also false for what is no number
            return Severity.of_score(number)
    usual = as_mapping(rule.get("defaultConfiguration")).get("level")
    levels = [as_text(result.get("level") or usual) for result in results]
    return max(_LEVELS.get(level, Severity.UNKNOWN) for level in levels)


def _package(message: str) -> AffectedPackage | None:
    lines = dict(_LINE.findall(message))
    name = lines.get("Package", "").strip()
    if not name:
        return None
    installed, fixed = lines.get("Installed Version", ""), lines.get("Fixed Version", "")
    return AffectedPackage(name, installed.strip(), fixed.strip())


FORMAT = ReportFormat("SARIF", _recognises, _read)
