# SPDX-License-Identifier: Apache-2.0
"""Grype's JSON report of a container image.

Source: anchore/grype, `grype/presenter/models/`; syft's `pkg/image` metadata for ``source.target``.
``imageID`` is the digest of the image's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from imgsec.adapters.scan_reports import ClaimedReport, ReportFormat
from imgsec.adapters.scan_reports._parts import (
    as_list,
    as_mapping,
    as_text,
    as_time,
    digests_in,
    needed,
)
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Distribution,
    Finding,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    Severity,
    Source,
    merged_packages,
)


def _recognises(document: Any) -> bool:
    if not isinstance(document, dict) or "matches" not in document:
        return False
    descriptor = document.get("descriptor")
    return isinstance(descriptor, dict) and descriptor.get("name") == "grype"


def _read(document: Any) -> list[ClaimedReport]:
    source = as_mapping(document.get("source"))
    if source.get("type") != "image":
        name = as_text(source.get("type")) or "nothing"
        return [ClaimedReport(frozenset(), name, ScanReport(Source("grype"), ScanStatus.UNSCANNED))]
    target = as_mapping(source.get("target"))
    named = [target.get("imageID"), target.get("manifestDigest")]
    digests = digests_in([*named, *as_list(target.get("repoDigests"))])
    name = as_text(target.get("userInput"))
    return [ClaimedReport(digests, name, _report(document))]


def _report(document: Mapping[str, Any]) -> ScanReport:
    parts: dict[str, list[tuple[Mapping[str, Any], bool]]] = {}
    for member, is_hidden in (("matches", False), ("ignoredMatches", True)):
        for match in as_list(document.get(member)):
            issue = needed(match["vulnerability"]["id"])
            parts.setdefault(issue, []).append((match, is_hidden))
    findings = tuple(_finding(issue, matches) for issue, matches in parts.items())
    found = as_mapping(document.get("distro"))
    distribution = Distribution(as_text(found.get("name")), as_text(found.get("version")))
    status = ScanStatus.OK
    if any(finding.status is not PolicyStatus.EXEMPT for finding in findings):
        status = ScanStatus.FAIL
    elif not findings and not distribution.id:
        status = ScanStatus.UNSUPPORTED  # no distribution, nothing found: it may have seen nothing
    descriptor = as_mapping(document["descriptor"])
    return ScanReport(
        Source("grype", as_text(descriptor.get("version"))),
        status,
        findings,
        distribution,
        checked_at=_built(as_mapping(descriptor.get("db"))),
        made_at=as_time(descriptor.get("timestamp")),
    )


def _built(database: Mapping[str, Any]) -> datetime | None:
    """When the database was built; its place moved with version 6 of the schema."""
    return as_time(as_mapping(database.get("status")).get("built") or database.get("built"))


def _finding(issue: str, matches: list[tuple[Mapping[str, Any], bool]]) -> Finding:
    hidden = [is_hidden for _, is_hidden in matches]
    first = matches[0][0]["vulnerability"]
    related = [as_mapping(one) for match, _ in matches for one in _related(match)]
    words = [as_text(match["vulnerability"].get("severity")) for match, _ in matches]
    status = PolicyStatus.EXEMPT if all(hidden) else PolicyStatus.ACTIVE
    if any(hidden) and not all(hidden):
        status = PolicyStatus.PARTIAL
    advisories = [one for match, _ in matches for one in _advisories(match)]
    descriptions = [first.get("description"), *(one.get("description") for one in related)]
    return Finding(
        id=issue,
        summary=next((as_text(text) for text in descriptions if text), ""),
        severity=max(Severity.parse(word) for word in words),
        link=as_text(first.get("dataSource")),
        status=status,
        notices=tuple({notice.id: notice for notice in advisories}.values()),
        packages=merged_packages(_package(match) for match, _ in matches),
        aliases=tuple(
            dict.fromkeys(needed(one["id"]) for one in related if one.get("id") != issue)
        ),
    )


def _related(match: Mapping[str, Any]) -> list[Any]:
    return as_list(match.get("relatedVulnerabilities"))


def _advisories(match: Mapping[str, Any]) -> list[Notice]:
    listed = as_list(match["vulnerability"].get("advisories"))
    return [Notice(needed(one["id"]), as_text(one.get("link"))) for one in listed]


def _package(match: Mapping[str, Any]) -> AffectedPackage:
    artifact = match["artifact"]
    fix = as_mapping(match["vulnerability"].get("fix"))
    versions = [as_text(version) for version in as_list(fix.get("versions"))]
    dates = [as_time(one.get("date")) for one in as_list(fix.get("available"))]
    known = [moment for moment in dates if moment is not None]
    return AffectedPackage(
        needed(artifact["name"]),
        as_text(artifact.get("version")),
        ", ".join(versions),
        fixed_since=min(known) if known else None,
        notices=tuple(notice.id for notice in _advisories(match)),
        url=as_text(artifact.get("purl")),
    )


FORMAT = ReportFormat("Grype's", _recognises, _read)
