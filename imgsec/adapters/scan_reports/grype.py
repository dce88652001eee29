# SPDX-License-Identifier: Apache-2.0
"""Grype's JSON report of a container image.

Source: anchore/grype, `grype/presenter/models/`; syft's `pkg/image` metadata for ``source.target``.
``imageID`` is the digest of the image's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
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
from imgsec.errors import ImgsecError
from imgsec.reasons import REPORT_PARTIAL

# Of its options those that leave findings out, or look them up for another distribution.
_NARROWING = ("distro", "only-fixed", "only-notfixed", "ignore-states", "ignore-wontfix")
_KNOWN_STATES = ("fixed", "not-fixed", "wont-fix")  # `grype/vulnerability/fix.go`; not "unknown"


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
    names = as_list(target.get("repoDigests"))
    # Another one excludes nothing: for an image from elsewhere than a registry Syft makes one up.
    manifest = target.get("manifestDigest")
    return [
        ClaimedReport(
            digests_in([target.get("imageID"), manifest, *names]),
            as_text(target.get("userInput")),
            _report(document),
            image_ids=digests_in([target.get("imageID")]),
            registered=registered_in(names),
        )
    ]


def _report(document: Mapping[str, Any]) -> ScanReport:
    parts: dict[str, list[tuple[Mapping[str, Any], bool]]] = {}
    of_all = ((listed(document["matches"]), False), (as_list(document.get("ignoredMatches")), True))
    for matches, is_hidden in of_all:
        for match in matches:
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
        remarks=tuple(_remarks(as_mapping(descriptor.get("configuration")))),
    )


def _remarks(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """On what it was told to leave out. Raises `ImgsecError` (report-partial) for files.

    What its rules ignore it lists apart, so that nothing is lost. Older ones say no options.
    """
    if "exclude" not in options:
        yield unsaid("Grype")
        return
    if excluded := as_list(options["exclude"]):
        named = ", ".join(shown(as_text(path)) for path in excluded[:3])
        text = f"Grype was told to leave out files of the image: {named}"
        raise ImgsecError(REPORT_PARTIAL(text, hint="Scan without --exclude."))
    given = {name: options[name] for name in _NARROWING if options.get(name)}
    if given:
        told = ", ".join(f"{name}: {shown(as_text(str(value)))}" for name, value in given.items())
        yield ("options-narrow", f"Grype was told what to look for: {told}")


def _built(database: Mapping[str, Any]) -> datetime | None:
    """When the database was built; its place moved with version 6 of the schema."""
    return as_time(as_mapping(database.get("status")).get("built") or database.get("built"))


def _finding(issue: str, matches: list[tuple[Mapping[str, Any], bool]]) -> Finding:
    first = matches[0][0]["vulnerability"]
    related = [as_mapping(one) for match, _ in matches for one in _related(match)]
    words = [as_text(match["vulnerability"].get("severity")) for match, _ in matches]
    advisories = [one for match, _ in matches for one in _advisories(match)]
    descriptions = [first.get("description"), *(one.get("description") for one in related)]
    return Finding(
        id=issue,
        summary=next((as_text(text) for text in descriptions if text), ""),
        severity=max(Severity.parse(word) for word in words),
        link=as_text(first.get("dataSource")),
        status=suppressed([is_hidden for _, is_hidden in matches]),
        notices=tuple({notice.id: notice for notice in advisories}.values()),
        packages=merged_packages(_package(match) for match, _ in matches),
        aliases=tuple(
            dict.fromkeys(needed(one["id"]) for one in related if one.get("id") != issue)
        ),
    )


def _related(match: Mapping[str, Any]) -> list[Any]:
    return as_list(match.get("relatedVulnerabilities"))


def _advisories(match: Mapping[str, Any]) -> list[Notice]:
    advisories = as_list(match["vulnerability"].get("advisories"))
    return [Notice(needed(one["id"]), as_text(one.get("link"))) for one in advisories]


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
        knows_fix=fix.get("state") in _KNOWN_STATES,
        notices=tuple(notice.id for notice in _advisories(match)),
        url=as_text(artifact.get("purl")),
    )


FORMAT = ReportFormat("Grype's", _recognises, _read)
