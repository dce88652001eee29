# SPDX-License-Identifier: Apache-2.0
"""Trivy's JSON report of a container image, schema version 2.

Source: aquasecurity/trivy, `pkg/types/report.go` and `result.go`, and what 0.76 writes
(`tests/data/scan_reports`). ``ImageID`` is the digest of the image's configuration, so that it
tells the platforms of an index apart, which ``RepoDigests`` does not.

The report does not say what was looked for: one of ``--scanners secret``, or of a higher
``--severity``, is the same as one in which no vulnerability was found. So it bears a remark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
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
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Distribution,
    Finding,
    IssueKind,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    Severity,
    Source,
    merged_packages,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import REPORT_PARTIAL

_SCHEMA_VERSION = 2
_PACKAGE_CLASSES = ("os-pkgs", "lang-pkgs")
_UNKNOWN_SYSTEM = "none"  # `pkg/fanal/types/const.go`: there is one, and Trivy cannot assess it
# Trivy's database, `pkg/types/status.go`: those that leave open whether there is a fix. Where its
# data say nothing it writes "affected", and before 0.43 no status at all.
_OPEN_STATES = ("unknown", "under_investigation")
# What a package was found by, in the result of a scan that lists no packages besides.
_SIGNS_OF_PACKAGES = ("Packages", "Vulnerabilities", "ExperimentalModifiedFindings")


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and "SchemaVersion" in document and "ArtifactType" in document


def _read(document: Any) -> list[ClaimedReport]:
    if document["SchemaVersion"] != _SCHEMA_VERSION:
        raise ValueError(f"schema version {document['SchemaVersion']!r}")
    name = as_text(document.get("ArtifactName"))
    if document["ArtifactType"] != "container_image":
        return [ClaimedReport(frozenset(), name, ScanReport(Source("trivy"), ScanStatus.UNSCANNED))]
    metadata = as_mapping(document.get("Metadata"))
    names = as_list(metadata.get("RepoDigests"))
    return [
        ClaimedReport(
            digests_in([metadata.get("ImageID"), *names]),
            name,
            _report(document, metadata),
            image_ids=digests_in([metadata.get("ImageID")]),
            registered=registered_in(names),
        )
    ]


def _report(document: Mapping[str, Any], metadata: Mapping[str, Any]) -> ScanReport:
    results = [as_mapping(result) for result in as_list(document.get("Results"))]
    system = as_mapping(metadata.get("OS"))
    family = as_text(system.get("Family"))
    distribution = Distribution()
    if family != _UNKNOWN_SYSTEM:
        distribution = Distribution(family, as_text(system.get("Name")))
    classes = {as_text(result.get("Class")) for result in results}
    if distribution.id:
        _require_packages(distribution, results)
    findings = tuple(_findings(results))
    in_force = any(finding.status is not PolicyStatus.EXEMPT for finding in findings)
    status = ScanStatus.FAIL if in_force else ScanStatus.OK
    is_blind = not findings and not classes.intersection(_PACKAGE_CLASSES)
    if family == _UNKNOWN_SYSTEM or is_blind:
        status = ScanStatus.UNSUPPORTED  # it looked at nothing, or not at what the system installed
    return ScanReport(
        Source("trivy", as_text(as_mapping(document.get("Trivy")).get("Version"))),
        status,
        findings,
        distribution,
        made_at=as_time(document.get("CreatedAt")),
        is_end_of_life=True if system.get("EOSL") is True else None,
        remarks=(unsaid("Trivy"),),
    )


def _require_packages(distribution: Distribution, results: list[Mapping[str, Any]]) -> None:
    """Raises `ImgsecError` (report-partial) unless it looked at packages of the distribution.

    Where their database was removed from the image, Trivy finds none, warns, and ends as usual.
    """
    of_system = [result for result in results if result.get("Class") == "os-pkgs"]
    if not of_system:
        text = f"Trivy's report leaves out the packages of {distribution}"
        raise ImgsecError(REPORT_PARTIAL(text))
    if not any(_list_of(result, sign) for result in of_system for sign in _SIGNS_OF_PACKAGES):
        raise ImgsecError(
            REPORT_PARTIAL(
                f"Trivy's report names no package of {distribution}, not even one without findings",
                hint="Scan with --list-all-pkgs. If there are none then, the image has lost the"
                " list of its packages (such as /var/lib/dpkg), and no scanner can assess it.",
            )
        )


def _list_of(result: Mapping[str, Any], member: str) -> list[Any]:
    """A list of a result; Trivy leaves out an empty one, and writes no null. Raises `TypeError`."""
    return listed(result[member]) if member in result else []


def _findings(results: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """Each vulnerability once, with all its packages; then configuration issues and secrets."""
    parts: dict[str, list[tuple[Mapping[str, Any], bool]]] = {}
    for result in results:
        for item in _list_of(result, "Vulnerabilities"):
            parts.setdefault(needed(item["VulnerabilityID"]), []).append((item, False))
        for hidden in _list_of(result, "ExperimentalModifiedFindings"):
            item = as_mapping(hidden.get("Finding"))
            if "VulnerabilityID" in item:
                parts.setdefault(needed(item["VulnerabilityID"]), []).append((item, True))
    for issue, items in parts.items():
        yield _vulnerability(issue, items)
    for result in results:
        target = as_text(result.get("Target"))
        for item in _list_of(result, "Misconfigurations"):
            if item.get("Status") != "PASS":
                yield _configuration(item, item["ID"], target)
        for item in _list_of(result, "Secrets"):
            yield _configuration(item, item["RuleID"], target)
        for hidden in _list_of(result, "ExperimentalModifiedFindings"):
            item = as_mapping(hidden.get("Finding"))
            name = item.get("RuleID") or item.get("ID")
            if "VulnerabilityID" not in item and name:
                found = _configuration(item, name, target)
                yield replace(found, status=PolicyStatus.EXEMPT)


def _vulnerability(issue: str, items: list[tuple[Mapping[str, Any], bool]]) -> Finding:
    first = items[0][0]
    return Finding(
        id=issue,
        summary=as_text(first.get("Title") or first.get("Description")),
        severity=max(Severity.parse(as_text(item.get("Severity"))) for item, _ in items),
        link=as_text(first.get("PrimaryURL")),
        status=suppressed([is_hidden for _, is_hidden in items]),
        notices=tuple(
            Notice(needed(name))
            for name in dict.fromkeys(
                name for item, _ in items for name in as_list(item.get("VendorIDs"))
            )
        ),
        packages=merged_packages(_package(item) for item, _ in items),
    )


def _package(item: Mapping[str, Any]) -> AffectedPackage:
    """Since when there is a fix Trivy does not say; the day of the vulnerability stands in."""
    fixed = as_text(item.get("FixedVersion"))
    return AffectedPackage(
        needed(item["PkgName"]),
        as_text(item.get("InstalledVersion")),
        fixed,
        fixed_since=as_time(item.get("PublishedDate")) if fixed else None,
        notices=tuple(needed(name) for name in as_list(item.get("VendorIDs"))),
        url=as_text(as_mapping(item.get("PkgIdentifier")).get("PURL")),
        is_since_known=not fixed,
        knows_fix=item.get("Status") not in _OPEN_STATES,
    )


def _configuration(item: Mapping[str, Any], issue: object, target: str) -> Finding:
    action = as_text(item.get("Resolution")) or "Remove it from the image, and from its history."
    return Finding(
        id=needed(issue),
        summary=as_text(item.get("Title") or item.get("Message")),
        kind=IssueKind.CONFIGURATION,
        severity=Severity.parse(as_text(item.get("Severity"))),
        link=as_text(item.get("PrimaryURL")),
        packages=(AffectedPackage(target, action=action),),
    )


FORMAT = ReportFormat("Trivy's", _recognises, _read)
