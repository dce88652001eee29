# SPDX-License-Identifier: Apache-2.0
"""SARIF 2.1.0, as scanners of images write it: each run is one report.

The standard has no member for the image. Trivy keeps ``imageID`` and ``repoDigests`` among the
properties of the run, imgsec ``imageDigest``; a digest in ``automationDetails.id`` counts as well.
Sections named here are those of the standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgsec.adapters.scan_reports import ClaimedReport, ReportFormat
from imgsec.adapters.scan_reports._parts import (
    as_list,
    as_mapping,
    as_text,
    as_time,
    digests_in,
    listed,
    needed,
    registered_in,
    suppressed,
    unsaid,
)
from imgsec.domain.reference import shown
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    IssueKind,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    Severity,
    Source,
    merged_packages,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import REPORT_PARTIAL

_SCORE_MAX = 10.0  # CVSS
_GRYPE = frozenset({"grype", "anchore grype scan"})
# Names of drivers, in lower case, whose empty list means that no vulnerability was found in an
# image. Not imgsec: what it writes is a verdict, and no news.
_SCANNERS = _GRYPE | {
    *("anchore container vulnerability report (t0)", "clair", "clair v4", "docker scout"),
    *("jfrog xray scanner", "prisma cloud (twistcli)", "snyk container", "sysdig-cli-scanner"),
    "trivy",
}
_OURS = "imgsec"
_VULNERABILITY = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}|GHSA(?:-[0-9a-z]{4}){3}", re.IGNORECASE)
_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW}
# Trivy's messages, `pkg/report/sarif.go`: a line for each.
_LINE = re.compile(r"^(Package|Installed Version|Fixed Version): (.*)$", re.MULTILINE)
# The help of Grype's rules, `grype/presenter/sarif/presenter.go`.
_HELP_LINE = re.compile(r"^(Vulnerability|Package:|Version:|Fix Version:) (.*)$", re.MULTILINE)


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and "runs" in document and "version" in document


def _read(document: Any) -> list[ClaimedReport]:
    if document["version"] != "2.1.0":
        raise ValueError(f"version {document['version']!r}")
    if as_list(document.get("inlineExternalProperties")):
        raise ImgsecError(REPORT_PARTIAL("the SARIF report keeps a part of its runs outside them"))
    return [_run(as_mapping(run)) for run in as_list(document["runs"])]


def _run(run: Mapping[str, Any]) -> ClaimedReport:
    properties = as_mapping(run.get("properties"))
    name = as_text(as_mapping(run.get("automationDetails")).get("id"))
    image_id, names = properties.get("imageID"), as_list(properties.get("repoDigests"))
    names = [properties.get("imageDigest"), *names]
    invocations = [as_mapping(one) for one in as_list(run.get("invocations"))]
    _require_whole(run, invocations)
    times = [as_time(one.get("endTimeUtc") or one.get("startTimeUtc")) for one in invocations]
    known = [moment for moment in times if moment is not None]
    driver = as_mapping(as_mapping(run["tool"])["driver"])
    tool = needed(driver["name"]).lower()
    findings = tuple(_findings(run, tool))
    report = ScanReport(
        Source(tool, as_text(driver.get("version"))),
        _status(tool, findings),
        findings,
        made_at=max(known) if known else None,
        remarks=(unsaid(shown(tool)),),
    )
    return ClaimedReport(
        digests_in([image_id, name, *names]),
        as_text(properties.get("imageName")) or name or "no image at all",
        report,
        image_ids=digests_in([image_id]),
        registered=registered_in(names),
    )


def _require_whole(run: Mapping[str, Any], invocations: Sequence[Mapping[str, Any]]) -> None:
    """Raises `ImgsecError` (report-partial) unless the run looked, and tells all that it found."""
    if run.get("results") is None:  # section 3.14.23: null, or missing, says that it did not look
        raise ImgsecError(REPORT_PARTIAL("the SARIF report has no results, not even an empty list"))
    elsewhere = as_mapping(run.get("externalPropertyFileReferences"))
    if as_list(elsewhere.get("results")) or as_list(elsewhere.get("invocations")):
        raise ImgsecError(REPORT_PARTIAL("the SARIF report keeps results in files besides"))
    if any(map(_has_failed, invocations)):
        raise ImgsecError(REPORT_PARTIAL("the run that the SARIF report is of did not succeed"))


def _has_failed(invocation: Mapping[str, Any]) -> bool:
    """It says so, or it ended with an error without saying that this is a success (3.20).

    Scanners also end with a code of their own where they have found something. A notification of
    level error says that results are missing, or wrong (3.58.6).
    """
    succeeded = invocation.get("executionSuccessful")
    if succeeded is not True and (succeeded is False or invocation.get("exitCode")):
        return True
    if any(invocation.get(name) for name in ("exitSignalName", "processStartFailureMessage")):
        return True
    kinds = ("toolExecutionNotifications", "toolConfigurationNotifications")
    notifications = [one for kind in kinds for one in as_list(invocation.get(kind))]
    return any(as_mapping(one).get("level") == "error" for one in notifications)


def _status(tool: str, findings: Sequence[Finding]) -> ScanStatus:
    """Unsupported for what may not look for vulnerabilities of images, such as a linter."""
    looks = any(_VULNERABILITY.fullmatch(finding.id) for finding in findings)
    if tool == _OURS or not (looks or tool in _SCANNERS):
        return ScanStatus.UNSUPPORTED
    in_force = any(finding.status is not PolicyStatus.EXEMPT for finding in findings)
    return ScanStatus.FAIL if in_force else ScanStatus.OK


@dataclass(frozen=True, slots=True)
class _Hit:
    """A result, and the rule that it is of. package: None where nobody says which."""

    issue: str
    result: Mapping[str, Any]
    rule: Mapping[str, Any]
    package: AffectedPackage | None


def _findings(run: Mapping[str, Any], tool: str) -> Iterator[Finding]:
    parts: dict[str, list[_Hit]] = {}
    rules = _Rules(as_mapping(run["tool"]))
    for result in listed(run["results"]):
        name, rule = rules.of(as_mapping(result))
        hit = _Hit(name, result, rule, _package(as_text(_message(result))))
        if tool in _GRYPE:
            hit = _of_grype(hit)
        parts.setdefault(hit.issue, []).append(hit)
    for issue, hits in parts.items():
        yield _finding(issue, hits)


class _Rules:
    """The rules of a run's tool and its extensions (3.18, 3.19.23)."""

    def __init__(self, tool: Mapping[str, Any]) -> None:
        self._own = as_list(as_mapping(tool["driver"]).get("rules"))
        extensions = as_list(tool.get("extensions"))
        self._added = [as_list(as_mapping(one).get("rules")) for one in extensions]
        rules = [as_mapping(rule) for rules in (*self._added, self._own) for rule in rules]
        self._by_id = {rule["id"]: rule for rule in rules}

    def of(self, result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The id that a result is filed under, and its rule; an empty one where none is there.

        A result names the rule, or says only its place in the list (3.27.5 to 3.27.7). Raises
        `ValueError` for a place that there is not.
        """
        reference = as_mapping(result.get("rule"))
        if name := as_text(result.get("ruleId") or reference.get("id")):
            return name, as_mapping(self._by_id.get(name))
        component = as_mapping(reference.get("toolComponent"))
        rules = _at(self._added, component["index"]) if component else self._own
        rule = as_mapping(_at(rules, result.get("ruleIndex", reference.get("index"))))
        return needed(rule["id"]), rule


def _at(items: Sequence[Any], place: object) -> Any:
    """What stands at a place in a list; SARIF writes -1 for none. Raises `ValueError`."""
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(items):
        raise ValueError("a result of no rule that is there")
    return items[place]


def _of_grype(hit: _Hit) -> _Hit:
    """Grype files a result under vulnerability and package, ``CVE-2026-0001-zlib``.

    Taken apart where the rule's help names the two, or where it begins with an id whose end is
    certain. Without a fix it does not say whether there is none.
    """
    told = dict(_HELP_LINE.findall(as_text(as_mapping(hit.rule.get("help")).get("text"))))
    issue, package = told.get("Vulnerability", "").strip(), told.get("Package:", "").strip()
    if not issue or not package or hit.issue != f"{issue}-{package}":
        found = _VULNERABILITY.match(hit.issue)
        if found is None or not hit.issue[found.end() :].startswith("-"):
            return hit
        issue, package, told = found[0], hit.issue[found.end() + 1 :], {}
    if not package:
        return hit
    version, fixed = told.get("Version:", "").strip(), told.get("Fix Version:", "").strip()
    named = AffectedPackage(package, version, fixed, knows_fix=bool(fixed))
    return _Hit(issue, hit.result, hit.rule, named)


def _finding(issue: str, hits: Sequence[_Hit]) -> Finding:
    rule = hits[0].rule
    packages = [hit.package for hit in hits]
    named = [one for one in packages if one is not None]
    return Finding(
        id=issue,
        summary=as_text(as_mapping(rule.get("shortDescription")).get("text")) or issue,
        kind=IssueKind.CONFIGURATION if _is_configuration(rule) else IssueKind.VULNERABILITY,
        severity=max(map(_severity, hits)),
        link=as_text(rule.get("helpUri")),
        status=suppressed([_is_suppressed(hit.result) for hit in hits]),
        packages=merged_packages(named),
        knows_fixes=len(named) == len(packages),
        is_elsewhere=0 < len(named) < len(packages),
    )


def _is_configuration(rule: Mapping[str, Any]) -> bool:
    """As Trivy names the kinds of its rules, and imgsec."""
    return rule.get("name") in ("Misconfiguration", "Secret", "Configuration")


def _message(result: Mapping[str, Any]) -> object:
    return as_mapping(result.get("message")).get("text")


def _is_suppressed(result: Mapping[str, Any]) -> bool:
    """Accepted by somebody; under review, or rejected, it is in force (SARIF 2.1.0, 3.35.3)."""
    suppressions = as_list(result.get("suppressions"))
    return bool(suppressions) and all(
        as_mapping(one).get("status", "accepted") == "accepted" for one in suppressions
    )


def _severity(hit: _Hit) -> Severity:
    score = _score(as_mapping(hit.rule.get("properties")).get("security-severity"))
    if score is not None:
        return Severity.of_score(score)  # of 0, as scanners write it for unknown, none
    usual = as_mapping(hit.rule.get("defaultConfiguration")).get("level")
    level = as_text(hit.result.get("level") or usual)
    return _LEVELS.get(level, Severity.UNKNOWN)


def _score(value: object) -> float | None:
    """A CVSS score; None for what is none: Snyk writes "undefined" and "null" as well."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= _SCORE_MAX else None


def _package(message: str) -> AffectedPackage | None:
    lines = dict(_LINE.findall(message))
    name = lines.get("Package", "").strip()
    if not name:
        return None
    installed, fixed = lines.get("Installed Version", ""), lines.get("Fixed Version", "")
    return AffectedPackage(name, installed.strip(), fixed.strip())


FORMAT = ReportFormat("SARIF", _recognises, _read)
