# SPDX-License-Identifier: Apache-2.0
"""A report as the JSON document that programs read, held to ``schemas/report.schema.json``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from imgsec import __version__
from imgsec.domain.report import (
    ExemptionLine,
    ImageReport,
    KeyEntry,
    KeySummary,
    Report,
    ResolvedImage,
    ScannedImage,
    SignedImage,
    VerifiedImage,
    VerifierAnswer,
    is_of_policies,
)
from imgsec.domain.verdict import Verdict

if TYPE_CHECKING:  # most commands neither scan nor rotate nor list
    from imgsec.domain.exemption import Exemption
    from imgsec.domain.gate import JudgedFinding, JudgedScan
    from imgsec.domain.image_list import ImageListing, ListedImage, SecurityStatus
    from imgsec.domain.rotation import KeySide, Rotation
    from imgsec.domain.vulnerability import ScanReport

SCHEMA_VERSION = 1
Document = dict[str, Any]


def report_document(report: Report, exit_code: int) -> Document:
    """The whole report. Members are only ever added within one schema version."""
    document: Document = {
        "schemaVersion": SCHEMA_VERSION,
        "imgsec": __version__,
        "command": report.command,
        **_verdict(report.verdict),
        "exitCode": exit_code,
        "images": [_image(image) for image in report.images],
    }
    if report.key is not None:
        document["key"] = _key(report.key)
    if report.changes:
        document["changes"] = [
            {"target": change.target, "state": change.state} for change in report.changes
        ]
    if report.rotation is not None:
        document["rotation"] = _rotation(report.rotation)
    if report.keys:
        document["keys"] = [_entry(entry) for entry in report.keys]
    if report.checks:
        document["checks"] = [
            {"name": check.name, "found": check.found, **_verdict(check.verdict)}
            for check in report.checks
        ]
    if report.verifiers:
        document["verifiers"] = [_answer(answer) for answer in report.verifiers]
    if report.exemptions:
        document["exemptions"] = [_exemption_line(line) for line in report.exemptions]
    if report.exemption_types:
        document["exemptionTypes"] = [
            {"id": one.id, "name": one.name} for one in report.exemption_types
        ]
    if report.running:
        document["running"] = [
            {"image": one.image, "namespaces": list(one.namespaces), **_verdict(one.verdict)}
            for one in report.running
        ]
    if report.listing is not None:
        document["listing"] = _listing(report.listing)
    if is_of_policies(report):
        from imgsec.render.prediction import prediction_members

        document |= prediction_members(report, _verdict)
    return document


def _verdict(verdict: Verdict) -> Document:
    return {
        "outcome": verdict.outcome.word,
        "reasons": [
            {
                "code": reason.code,
                "outcome": reason.outcome.word,
                "text": reason.text,
                "hint": reason.hint,
                "retryable": reason.retryable,
            }
            for reason in verdict.reasons
        ],
        "notes": [{"code": note.code, "text": note.text} for note in verdict.notes],
    }


def _image(part: ImageReport) -> Document:
    document: Document = {"image": str(part.asked), **_verdict(part.verdict)}
    if part.answers:
        document["verifiers"] = [_answer(answer) for answer in part.answers]
    if part.steps:
        document["steps"] = [{"step": name, **_image(step)} for name, step in part.steps]
    found = part.found
    if found is None:
        return document
    document["canonical"] = found.image.canonical_name
    document["digest"] = str(found.image.digest)
    if isinstance(found, ResolvedImage):
        document["resolved"] = {
            "mediaType": found.media_type,
            "index": found.is_index,
            "platforms": list(found.platforms),
        }
    elif isinstance(found, ScannedImage):
        document["scans"] = [_scan(scan) for scan in found.scans]
    elif isinstance(found, SignedImage):
        document["signature"] = {
            "signer": str(found.signer),
            "identity": found.names[0],
            "identities": list(found.names),
            "new": found.is_new,
            "pushed": found.is_pushed,
            "digests": [str(digest) for digest in found.digests],
        }
    elif isinstance(found, VerifiedImage):
        document["signature"] = {
            "signer": str(found.signer),
            "identity": found.identity,
            "signedAt": _time(found.signed_at),
            "digests": [str(found.image.digest)],
        }
    return document


def _answer(answer: VerifierAnswer) -> Document:
    return {"verifier": answer.verifier, **_verdict(answer.verdict)}


def _scan(scan: JudgedScan) -> Document:
    """One manifest. status, distribution and checkedAt are those of the first source."""
    first = scan.reports[0] if scan.reports else None
    document: Document = {
        "digest": str(scan.digest),
        "platform": scan.subject.platform,
        **_verdict(scan.verdict),
        "status": str(first.status) if first else "",
        "distribution": str(first.distribution) if first else "",
        "sources": [_source(report) for report in scan.reports],
        "findings": [_finding(one) for one in scan.findings],
    }
    if first is not None and first.checked_at is not None:
        document["checkedAt"] = _time(first.checked_at)
    return document


def _source(report: ScanReport) -> Document:
    return {
        "name": report.source.name,
        "version": report.source.version,
        "status": str(report.status),
        "distribution": str(report.distribution),
        "madeAt": _time(report.made_at) if report.made_at else None,
        "dataAt": _time(report.checked_at) if report.checked_at else None,
    }


def _finding(one: JudgedFinding) -> Document:
    finding = one.finding
    return {
        "id": finding.id,
        "aliases": list(finding.aliases),
        "kind": str(finding.kind),
        "summary": finding.summary,
        "severity": finding.severity.word,
        "link": finding.link,
        "gated": one.is_gated,
        "mark": str(one.mark),
        "exempt": one.status.is_exempt,
        "policyStatus": str(one.status),
        "exemptions": [_exemption(entry) for entry in one.exemptions],
        "sources": list(one.sources),
        "notices": [notice.id for notice in finding.notices],
        "noticeLinks": {notice.id: notice.link for notice in finding.notices if notice.link},
        "fixes": [
            {
                "package": package.name,
                "installed": package.installed,
                "fixed": package.fixed,
                "action": package.action,
                **({"purl": package.url} if package.url else {}),
            }
            for package in finding.packages
        ],
    }


def _exemption_line(line: ExemptionLine) -> Document:
    document: Document = {
        "id": line.issue,
        "type": line.type,
        "scope": line.scope,
        "state": line.state,
        "inAdvisor": line.kept,
    }
    return document if line.entry is None else {**line.entry.document(), **document}


def _exemption(entry: Exemption) -> Document:
    return {**entry.document(), "scope": str(entry.scope)}


def _key(key: KeySummary) -> Document:
    return {
        "alias": key.alias,
        "keyId": key.key_id,
        "publicKeyId": key.public_key_id,
        "fingerprint": str(key.fingerprint),
        "algorithm": key.algorithm,
        "expires": _time(key.expires) if key.expires else None,
    }


def _rotation(rotation: Rotation) -> Document:
    def side(key: KeySide | None) -> Document | None:
        if key is None:
            return None
        return {
            "keyId": key.key_id,
            "fingerprint": str(key.fingerprint),
            "expires": _time(key.expires) if key.expires else None,
        }

    return {
        "alias": rotation.alias,
        "stage": str(rotation.stage),
        "old": side(rotation.old),
        "new": side(rotation.new),
        "secrets": list(rotation.secrets),
        "next": rotation.next_step,
    }


def _entry(entry: KeyEntry) -> Document:
    document: Document = {
        "alias": entry.alias,
        "furtherAliases": list(entry.further_aliases),
        "keyId": entry.key_id,
        "stored": _time(entry.created) if entry.created else None,
        "state": entry.state or None,
        **_verdict(entry.verdict),
    }
    if (public := entry.public) is not None:
        document |= {
            "fingerprint": str(public.fingerprint),
            "algorithm": public.algorithm,
            "created": _time(public.created),
            "expires": _time(public.expires) if public.expires else None,
            "daysLeft": entry.days_left,
            "canSign": public.can_sign,
            "revoked": public.is_revoked,
        }
    if entry.published is not None:
        document["published"] = [
            {"secret": place.secret, "trustedBy": list(place.trusted_by)}
            for place in entry.published
        ]
    return document


def _listing(listing: ImageListing) -> Document:
    document: Document = {
        "scope": listing.scope,
        "images": [_row(row) for row in listing.rows],
    }
    if listing.by is not None:
        document["by"] = str(listing.by)
        document["groups"] = [
            {
                "name": group.name,
                "images": group.total,
                "counts": {str(standing): count for standing, count in group.counts.items()},
                "policyStatus": str(group.policy),
            }
            for group in listing.groups
        ]
    return document


def _row(row: ListedImage) -> Document:
    image, known = row.image, row.known
    return {
        "image": str(image) if image.tag is None else image.tagged_name,
        "registry": image.registry,
        "namespace": row.namespace,
        "repository": image.name,
        "tag": image.tag,
        "digest": str(image.digest) if image.digest else None,
        "created": _time(known.created) if known.created else None,
        "size": known.size,
        "mediaType": known.media_type,
        "securityStatus": _status(row.status),
    }


def _status(status: SecurityStatus) -> Document:
    summary, reason = status.summary, status.reason
    return {
        "words": status.words,
        "standing": str(status.standing),
        "status": str(summary.status) if summary else None,
        "issues": summary.issues if summary else None,
        "exempt": summary.exempt if summary else None,
        "checkedAt": _time(summary.checked_at) if summary and summary.checked_at else None,
        "reason": reason.code if reason else None,
    }


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
