# SPDX-License-Identifier: Apache-2.0
"""A report as the JSON document that programs read, held to ``schemas/report.schema.json``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from imgsec import __version__
from imgsec.domain.report import (
    ImageReport,
    KeyEntry,
    KeySummary,
    Report,
    ResolvedImage,
    ScannedImage,
    SignedImage,
    VerifiedImage,
    VerifierAnswer,
)
from imgsec.domain.verdict import Verdict
from imgsec.domain.vulnerability import Finding, ScanReport

if TYPE_CHECKING:  # only one command rotates
    from imgsec.domain.rotation import KeySide, Rotation

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
    if report.running:
        document["running"] = [
            {"image": one.image, "namespaces": list(one.namespaces), **_verdict(one.verdict)}
            for one in report.running
        ]
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
        document["scans"] = [_scan(str(digest), scan) for digest, scan in found.scans]
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


def _scan(digest: str, scan: ScanReport) -> Document:
    document: Document = {
        "digest": digest,
        "status": str(scan.status),
        "distribution": scan.distribution,
        "findings": [_finding(finding) for finding in scan.findings],
    }
    if scan.checked_at is not None:
        document["checkedAt"] = _time(scan.checked_at)
    return document


def _finding(finding: Finding) -> Document:
    return {
        "id": finding.id,
        "summary": finding.summary,
        "exempt": finding.exempt,
        "notices": list(finding.notices),
        "fixes": [
            {
                "package": fix.package,
                "installed": fix.installed,
                "fixed": fix.fixed,
                "action": fix.action,
            }
            for fix in finding.fixes
        ],
    }


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


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
