# SPDX-License-Identifier: Apache-2.0
"""The verdict record: what was judged, on which data, by which rules, on whose word.

An advisor keeps no archive, and says something else tomorrow: the record is what stays. It is held
to ``schemas/verdict-record.schema.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from imgsec import __version__
from imgsec.domain.gate import JudgedFinding, JudgedScan, Mark, deploy_words
from imgsec.domain.report import ImageReport, Report, ScannedImage, SignedImage
from imgsec.domain.verdict import Note, Verdict

if TYPE_CHECKING:
    from imgsec.domain.gate_file import FileUsed, GateFile
    from imgsec.domain.reference import ImageReference

SCHEMA_VERSION = 1
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GateContext:
    """Under which circumstances the gate judged. now: when; judged_for: the day of exemptions."""

    now: datetime
    judged_for: datetime
    file: GateFile
    gate_file: FileUsed | None
    ledger: FileUsed | None
    baseline: ImageReference | None = None
    notes: tuple[Note, ...] = ()


def verdict_record(report: Report, context: GateContext) -> str:
    """The record of one run, as JSON."""
    rules = context.file.rules
    notes = dict.fromkeys([*context.notes, *report.verdict.notes])
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "imgsec-verdict-record",
        "imgsec": __version__,
        "command": report.command,
        "time": _time(context.now),
        "judgedFor": context.judged_for.date().isoformat(),
        "outcome": report.verdict.outcome.word,
        "gateFile": _file(context.gate_file),
        "ledger": _file(context.ledger),
        "rules": {
            "failOn": rules.fail_on.word if rules.fail_on is not None else "any",
            "unknownSeverity": "fail" if rules.counts_unknown else "ignore",
            "onlyFixed": rules.only_fixed,
            "graceDays": rules.grace.days,
            "exemptions": str(rules.trust),
            "unsupported": str(rules.unsupported),
            "endOfLife": str(rules.end_of_life),
            "mode": str(rules.mode),
            "distributions": {name: day.isoformat() for name, day in rules.last_days.items()},
            "baseline": str(context.baseline) if context.baseline is not None else None,
            "maxAgeSeconds": int(context.file.max_age.total_seconds())
            if context.file.max_age is not None
            else None,
        },
        "notes": [{"code": note.code, "text": note.text} for note in notes],
        "reasons": _reasons(report.verdict),
        "images": [_image(part, part.scan) for part in report.images if part.scan is not None],
        "unjudged": [
            {"image": str(part.asked), "reasons": [one.code for one in part.verdict.reasons]}
            for part in report.images
            if part.scan is None
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _image(part: ImageReport, scan: ScannedImage) -> Document:
    document: Document = {
        "image": str(part.asked),
        "canonical": scan.image.canonical_name,
        "digest": str(scan.image.digest),
        "outcome": part.verdict.outcome.word,
        "decision": deploy_words(part.verdict),
        "manifests": [_manifest(one) for one in scan.scans],
    }
    if part.steps:
        document["steps"] = [
            {"step": name, "outcome": step.verdict.outcome.word, "reasons": _reasons(step.verdict)}
            for name, step in part.steps
        ]
    if isinstance(part.found, SignedImage):
        document["signed"] = {
            "image": part.found.image.canonical_name,
            "names": list(part.found.names),
            "digests": list(map(str, part.found.digests)),
            "signer": str(part.found.signer),
        }
    return document


def _reasons(verdict: Verdict) -> list[Document]:
    return [{"code": reason.code, "text": reason.text} for reason in verdict.reasons]


def _manifest(scan: JudgedScan) -> Document:
    exempt: dict[Any, list[str]] = {}
    for one in scan.findings:
        for entry in one.exemptions:
            exempt.setdefault(entry, []).append(one.finding.id)
    return {
        "digest": str(scan.digest),
        "platform": scan.subject.platform,
        "outcome": scan.verdict.outcome.word,
        "reasons": _reasons(scan.verdict),
        "sources": [
            {
                "name": report.source.name,
                "version": report.source.version,
                "sha256": report.sha256 or None,
                "status": str(report.status),
                "distribution": str(report.distribution),
                "madeAt": _time(report.made_at) if report.made_at else None,
                "dataAt": _time(report.checked_at) if report.checked_at else None,
            }
            for report in scan.reports
        ],
        "findings": {
            str(mark): [one.finding.id for one in scan.findings if one.mark is mark]
            for mark in Mark
        },
        "details": [_finding(one) for one in scan.findings],
        "ownerless": [one.finding.id for one in scan.findings if one.is_ownerless],
        "exemptions": [
            {**entry.document(), "scope": str(entry.scope), "findings": findings}
            for entry, findings in exempt.items()
        ],
    }


def _finding(one: JudgedFinding) -> Document:
    """What its mark rests on."""
    return {
        "id": one.finding.id,
        "severity": one.finding.severity.word,
        "policyStatus": str(one.status),
        "sources": list(one.sources),
        "packages": [
            {"name": part.name, "installed": part.installed, "fixed": part.fixed}
            for part in one.finding.packages
        ],
    }


def _file(used: FileUsed | None) -> Document | None:
    return None if used is None else {"name": used.name, "sha256": used.sha256}


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
