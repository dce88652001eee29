# SPDX-License-Identifier: Apache-2.0
"""A gate's report as SARIF 2.1.0, as GitHub's code scanning takes it.

Source of the limits and of what is shown: GitHub, "SARIF support for code scanning". A run is one
manifest, with a category of its own, which is the same from release to release, so that an alert
closes when its finding is gone. An image has no lines: the first one stands for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from imgsec.domain.gate import JudgedFinding, JudgedScan, Mark
from imgsec.domain.report import ImageReport, Report, ScannedImage
from imgsec.domain.vulnerability import Finding, Severity
from imgsec.reasons import Outcome, Reason
from imgsec.render.sarif_parts import (
    RESULTS_MAX,
    SCHEMA,
    TEXT_MAX_CHARS,
    Document,
    message,
    notification,
    sarif_run,
    short_hash,
)
from imgsec.render.scan_text import is_address, mark_word, only_warns
from imgsec.render.text import clean

_RUNS_MAX = 20
# Within the bands that GitHub draws: over 9 critical, from 7 high, from 4 medium, low below.
_SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.NEGLIGIBLE: "0.5",
}


def report_sarif(report: Report) -> str:
    """The document. Where there are more manifests than GitHub takes runs, they share one."""
    scans = [
        (part.found, scan)
        for part in report.images
        if isinstance(part.found, ScannedImage)
        for scan in part.found.scans
    ]
    named: list[tuple[str, list[tuple[ScannedImage, JudgedScan]]]] = []
    if len(scans) >= _RUNS_MAX:  # one more may be needed for what could not be scanned
        named = [(f"imgsec/{_command(report)}/{len(scans)}-images/", scans)]
    else:
        taken: set[str] = set()
        for found, scan in scans:
            name = _category(found, scan)
            if name in taken:
                name = f"{name}{scan.digest.hex[:12]}/"
            if name in taken:
                name = f"{name}{len(taken)}/"
            taken.add(name)
            named.append((name, [(found, scan)]))
    runs = [_run(name, parts, _further(report, parts)) for name, parts in named]
    unscanned = [part for part in report.images if not isinstance(part.found, ScannedImage)]
    if unscanned or not runs:
        runs = [*runs[: _RUNS_MAX - 1], _unscanned_run(report, unscanned)]
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(document) + "\n"


def _command(report: Report) -> str:
    """As a category can have it."""
    return report.command.replace(" ", "-")


def _category(found: ScannedImage, scan: JudgedScan) -> str:
    platform = f"{scan.subject.platform}/" if scan.subject.platform else ""
    return clean(f"imgsec/{found.image.name}/{platform}")


def _further(report: Report, parts: Sequence[tuple[ScannedImage, JudgedScan]]) -> list[Reason]:
    """Why what came after the scans failed, as signing may."""
    scanned = [found for found, _ in parts]
    said = {reason for found in scanned for scan in found.scans for reason in scan.verdict.reasons}
    images = [part for part in report.images if any(part.found is found for found in scanned)]
    every = dict.fromkeys(reason for part in images for reason in part.verdict.reasons)
    return [reason for reason in every if reason not in said]


def _run(
    name: str, parts: Sequence[tuple[ScannedImage, JudgedScan]], further: Sequence[Reason] = ()
) -> Document:
    every = [(found, scan, one) for found, scan in parts for one in scan.findings]
    # What refuses comes first: of too many, the last are left out.
    shown = sorted(every, key=lambda part: not part[2].is_gated)[:RESULTS_MAX]
    numbers: dict[str, int] = {}
    rules: list[Document] = []
    for _, _, one in shown:
        if one.finding.id not in numbers:
            numbers[one.finding.id] = len(rules)
            rules.append(_rule(one.finding))
    undecided = [
        notification(reason)
        for _, scan in parts
        for reason in scan.verdict.reasons
        if reason.outcome is not Outcome.REFUSED
    ]
    undecided += map(notification, further)
    results = [_result(found, scan, one, numbers[one.finding.id]) for found, scan, one in shown]
    run = sarif_run(name, rules, undecided, results)
    if len(parts) == 1:
        found, scan = parts[0]
        run["properties"] = {
            "imageName": found.image.name,
            "imageDigest": str(scan.digest),
            "repoDigests": [f"{found.image.name}@{scan.digest}"],
        }
    return run


def _unscanned_run(report: Report, parts: Sequence[ImageReport]) -> Document:
    """What could not be scanned: without a word of it the document would say that all is well."""
    told = [notification(one, str(part.asked)) for part in parts for one in part.verdict.reasons]
    if not report.images:
        told = [notification(one) for one in report.verdict.reasons]
    return sarif_run(f"imgsec/{_command(report)}/not-scanned/", [], told, [])


def _rule(finding: Finding) -> Document:
    name = clean(finding.id)
    summary = clean(finding.summary)[:TEXT_MAX_CHARS] or name
    steps = _steps(finding)
    rule: Document = {
        "id": name,
        "name": "".join(word.capitalize() for word in str(finding.kind).split("-")),
        "shortDescription": {"text": f"{name}: {summary}"[:TEXT_MAX_CHARS]},
        "fullDescription": {"text": summary},
        "help": {"text": "\n".join([summary, *steps])},
        "properties": {"tags": ["security", str(finding.kind), finding.severity.word]},
    }
    if is_address(finding.link):
        rule["helpUri"] = finding.link
    if finding.severity in _SCORES:
        rule["properties"]["security-severity"] = _SCORES[finding.severity]
    return rule


def _steps(finding: Finding) -> list[str]:
    found = [
        clean(part.action or f"Upgrade {part.name} to {part.fixed}")
        for part in finding.packages
        if part.action or part.fixed
    ]
    return list(dict.fromkeys(found))[:20]


def _result(found: ScannedImage, scan: JudgedScan, one: JudgedFinding, number: int) -> Document:
    finding = one.finding
    packages = ", ".join(f"{part.name} {part.installed}".strip() for part in finding.packages[:10])
    text = (
        f"{finding.id} in {packages or 'the image'} of {found.image.name}"
        f" ({mark_word(one.mark, scan.verdict)})"
    )
    steps = _steps(finding)
    if steps:
        text += f". {'; '.join(steps[:5])}"
    identity = "\0".join([found.image.name, finding.id, *(part.name for part in finding.packages)])
    uri = quote(found.image.repository, safe="/")
    result: Document = {
        "ruleId": clean(finding.id),
        "ruleIndex": number,
        "level": ("warning" if only_warns(scan.verdict) else "error") if one.is_gated else "note",
        "message": {"text": message(text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
                },
                "message": {"text": found.image.canonical_name},
            }
        ],
        # The only one that GitHub uses, which it would else compute from a file that is not there.
        "partialFingerprints": {"primaryLocationLineHash": f"{short_hash(identity)}:1"},
    }
    if one.mark is Mark.EXEMPT:
        result["suppressions"] = list(_suppressions(one))
    return result


def _suppressions(one: JudgedFinding) -> Iterable[Document]:
    if one.is_ownerless:
        yield {
            "kind": "external",
            "status": "accepted",
            "justification": "exempt at the source, on nobody's word",
        }
    for entry in one.exemptions:
        text = f"{entry.reason} (until {entry.expires}, by {entry.owner})"
        yield {"kind": "external", "status": "accepted", "justification": clean(text)}
