# SPDX-License-Identifier: Apache-2.0
"""A gate's report as one self-contained page, to be read in a browser, offline, and kept.

Everything is in the markup: without its script the page is whole, and only filters and sorting are
missing. It loads nothing, and its policy allows its own style and script alone, by their hashes.
What sources say is foreign: it is escaped, without control characters, and linked only where it is
an address beyond doubt.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from imgsec import __version__
from imgsec.domain.exemption import (
    Exemption,
    IssueType,
    is_cve,
    is_issue_id,
    is_package_name,
    narrowest_scope,
)
from imgsec.domain.gate import JudgedFinding, JudgedScan, Mark, decisive, deploy_words
from imgsec.domain.remedy import remedies
from imgsec.domain.report import Report, ScannedImage
from imgsec.domain.verdict import Note, Verdict
from imgsec.domain.vulnerability import Finding, IssueKind, ScanReport, Severity
from imgsec.reasons import Outcome, Reason
from imgsec.render.scan_text import MARK_WORDS, deploy_line, is_address, mark_word, only_warns
from imgsec.render.text import clean

_TEMPLATES = Path(__file__).with_name("templates")
_REMEDIES_MAX = 5
_BAR_WIDTH = 1000  # of the drawing, which is stretched
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")  # needs no quotes in YAML, but for a few words
_YAML_WORDS = frozenset("y yes n no on off true false null".split())
_KINDS = (
    (IssueKind.VULNERABILITY, "Vulnerabilities", "How to resolve", "No fix is known."),
    (IssueKind.CONFIGURATION, "Configuration issues", "Security practice", "Its source says none."),
)
_MARK_SENTENCES = {
    Mark.GATED: "It is in force and refuses the image.",
    Mark.EXEMPT: "It does not count.",
    Mark.BELOW_LIMIT: "Its severity is below the limit that the gate was given.",
    Mark.NO_FIX: "No fix is known, and the gate counts only what can be fixed.",
    Mark.IN_GRACE: "Its fix is younger than the grace period.",
    Mark.IN_BASELINE: "The baseline has it already.",
}
_WOULD_REFUSE = ("Would refuse", "It is in force and would refuse the image; the gate only warns.")
_TO_FILL_IN = """\
  owner:    # who answers for it
  reason:   # why it does not count here
  expires:  # the last day it holds, such as 2026-12-31"""
_TONES = {Outcome.PASS: "pass", Outcome.REFUSED: "refused"}


@dataclass(frozen=True, slots=True)
class _Count:
    """How many findings have one property, and where that begins in the drawing of all."""

    name: str
    word: str
    count: int
    start: int
    width: int


class _Row(NamedTuple):
    """One finding, ready to be shown: texts without control characters, not yet escaped.

    packages: where there are several. reading: label, text and whether that is a link.
    """

    head: str
    id: str
    package: str
    installed: str
    fixed: str
    state: str
    summary: str
    step: str
    further_steps: Sequence[str]
    policy: str
    exemptions: Sequence[Exemption]
    is_exempt: bool
    is_ownerless: bool
    packages: Sequence[tuple[str, str, str]]
    fixed_since: datetime | None
    aliases: str
    reading: Sequence[tuple[str, str, bool]]
    sources: str
    entry: str


@dataclass(frozen=True, slots=True)
class _Table:
    """The findings of one kind, and what is said where nothing puts one of them right."""

    title: str
    resolve: str
    unresolved: str
    rows: Sequence[_Row]


@dataclass(frozen=True, slots=True)
class _Scan:
    """One manifest with all that was said and found."""

    number: int
    name: str
    tag: str
    digest: str
    platform: str
    words: str
    tone: str
    reasons: Sequence[Reason]
    notes: Sequence[Note]
    remedies: Sequence[str]
    hint: str
    more_remedies: int
    severities: Sequence[_Count]
    marks: Sequence[_Count]
    tables: Sequence[_Table]
    total: int
    reports: Sequence[ScanReport]


def report_html(report: Report) -> str:
    """The page."""
    style, script = (
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    found = list(_found_scans(report))
    judged = [scan for _, _, scan in found]
    every = [one for scan in judged for one in scan.findings]
    environment = _environment()
    template = environment.get_template("report.html.j2")
    common = environment.get_template("common.html.j2").module
    return template.render(
        version=__version__,
        command=report.command,
        outcome=report.verdict.outcome.word,
        words=deploy_words(report.verdict),
        tone=_tone(report.verdict),
        subject=_subject(report),
        lead=_lead(report, judged),
        unscanned=[one for one in report.images if not isinstance(one.found, ScannedImage)],
        scans=[_scan(number, *one, common) for number, one in enumerate(found, start=1)],
        total=len(every),
        nothing=_nothing(judged),
        severities=_severities(every),
        marks=_marks(every, report.verdict),
        reasons=_unsaid_reasons(report, judged),
        notes=_unsaid_notes(report, judged),
        changes=report.changes,
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # it costs more than it saves on one page
    )
    environment.filters |= {
        "shown": _shown,
        "moment": _moment,
        "iso": _iso,
        "tone": _tone,
        "words": deploy_words,
    }
    return environment


def _subject(report: Report) -> str:
    if len(report.images) != 1:
        return f"{len(report.images)} images"
    (part,) = report.images
    return part.found.image.name if part.found else str(part.asked)


def _lead(report: Report, judged: Sequence[JudgedScan]) -> str:
    """The whole in a sentence or two."""
    total = sum(len(scan.findings) for scan in judged)
    gated = sum(len(scan.gated) for scan in judged)
    where = _counted(len(report.images), "image")
    if len(judged) > len(report.images):
        where += f" on {len(judged)} platforms"
    verb = "would refuse" if only_warns(report.verdict) else _gated_verb(gated)
    text = f"{_counted(total, 'finding').capitalize()} in {where}; {gated or 'none'} {verb}."
    if not judged:
        text = f"Nothing was scanned in {where}."
    elif not total and _is_open(judged):
        text = f"No findings in {where}, and no verdict."
    if len(report.images) > 1:
        text += f" {deploy_line([part.verdict for part in report.images])}."
    return text


def _nothing(judged: Sequence[JudgedScan]) -> str:
    """What stands where there are no findings: it is not always good news."""
    if not judged:
        return "Nothing was scanned."
    return (
        "Nothing was found, and that is no verdict." if _is_open(judged) else "Nothing was found."
    )


def _is_open(judged: Sequence[JudgedScan]) -> bool:
    """Whether the gate itself came to no verdict."""
    return any(scan.verdict.outcome is Outcome.UNDECIDED for scan in judged)


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _gated_verb(count: int) -> str:
    return "refuses" if count <= 1 else "refuse"


def _csp_hash(content: str) -> str:
    """As a policy names an inline element. Source: CSP Level 3, section 2.3.1."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _found_scans(report: Report) -> Iterator[tuple[Verdict, ScannedImage, JudgedScan]]:
    for part in report.images:
        if isinstance(part.found, ScannedImage):
            for scan in part.found.scans:
                yield part.verdict, part.found, scan


def _unsaid_reasons(report: Report, judged: Sequence[JudgedScan]) -> list[Reason]:
    """The reasons of the whole, and of images, that stand nowhere else on the page."""
    said = {reason for scan in judged for reason in scan.verdict.reasons}
    for part in report.images:
        if not isinstance(part.found, ScannedImage):
            said |= set(part.verdict.reasons)
    verdicts = (report.verdict, *(part.verdict for part in report.images))
    every = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
    return [reason for reason in every if reason not in said]


def _unsaid_notes(report: Report, judged: Sequence[JudgedScan]) -> list[Note]:
    said = {note for scan in judged for note in scan.verdict.notes}
    verdicts = (report.verdict, *(part.verdict for part in report.images))
    every = dict.fromkeys(note for verdict in verdicts for note in verdict.notes)
    return [note for note in every if note not in said]


def _scan(number: int, whole: Verdict, found: ScannedImage, scan: JudgedScan, common: Any) -> _Scan:
    """whole: the verdict of the image, which may have failed after the gate."""
    verdict = decisive(scan.verdict, whole)
    best = remedies(one.finding for one in scan.gated)
    rows = _Rows(scan, common).by_kind
    tables = [
        _Table(title, resolve, unresolved, rows[kind])
        for kind, title, resolve, unresolved in _KINDS
        if kind in rows
    ]
    return _Scan(
        number=number,
        name=found.image.name,
        tag=scan.subject.image.tag or found.image.tag or "",
        digest=str(scan.digest),
        platform=_shown(scan.subject.platform),
        words=deploy_words(verdict),
        tone=_tone(verdict),
        reasons=scan.verdict.reasons,
        notes=scan.verdict.notes,
        remedies=[_sentence(str(one)) for one in best[:_REMEDIES_MAX]],
        hint=f"{_sentence(str(best[0]))}." if best else "",
        more_remedies=max(0, len(best) - _REMEDIES_MAX),
        severities=_severities(scan.findings),
        marks=_marks(scan.findings, scan.verdict),
        tables=tables,
        total=len(scan.findings),
        reports=scan.reports,
    )


def _sentence(text: str) -> str:
    return _shown(text[0].upper() + text[1:])


def _tone(verdict: Verdict) -> str:
    """The colour of a verdict."""
    if only_warns(verdict):
        return "caution"
    return _TONES.get(verdict.outcome, "undecided")


def _severities(findings: Sequence[JudgedFinding]) -> list[_Count]:
    counts = Counter(one.finding.severity for one in findings)
    order = sorted(Severity, reverse=True)
    return _counts([(one.word, one.word.capitalize(), counts[one]) for one in order])


def _marks(findings: Sequence[JudgedFinding], verdict: Verdict) -> list[_Count]:
    counts = Counter(one.mark for one in findings)
    return _counts([(str(one), mark_word(one, verdict).capitalize(), counts[one]) for one in Mark])


def _counts(named: Iterable[tuple[str, str, int]]) -> list[_Count]:
    named = [one for one in named if one[2]]
    whole = sum(count for _, _, count in named)
    before = 0
    found = []
    for name, word, count in named:
        start, end = (place * _BAR_WIDTH // whole for place in (before, before + count))
        found.append(_Count(name, word, count, start, end - start))
        before += count
    return found


class _Rows:
    """The findings of one manifest by kind. There may be thousands: what recurs is made once."""

    def __init__(self, scan: JudgedScan, common: Any) -> None:
        self._common = common
        self._words = {
            mark: (word.capitalize(), _MARK_SENTENCES[mark]) for mark, word in MARK_WORDS.items()
        }
        if only_warns(scan.verdict):
            self._words[Mark.GATED] = _WOULD_REFUSE
        self._scope = _yaml(str(narrowest_scope(scan.subject.image)))
        self._said: dict[tuple[object, ...], tuple[str, str, str]] = {}
        self._packages: dict[str, str] = {}
        self.by_kind: dict[IssueKind, list[_Row]] = {}
        for one in scan.findings:
            self.by_kind.setdefault(one.finding.kind, []).append(self._row(one))

    def _row(self, one: JudgedFinding) -> _Row:
        finding = one.finding
        packages = [
            (_shown(part.name), _shown(part.installed), _shown(part.fixed))
            for part in finding.packages
        ]
        name, installed, fixed = packages[0] if packages else ("", "", "")
        steps = [
            _shown(part.action) or f"Upgrade {name} to {fixed}"
            for part, (name, _, fixed) in zip(finding.packages, packages, strict=True)
            if part.action or part.fixed
        ]
        head, state, policy = self._labels(one)
        return _Row(
            head=head,
            id=_shown(finding.id),
            package=name,
            installed=installed,
            fixed=fixed,
            state=state,
            summary=_shown(finding.summary),
            step=steps[0] if steps else "",
            further_steps=list(dict.fromkeys(steps))[1:],
            policy=policy,
            exemptions=one.exemptions,
            is_exempt=one.status.is_exempt,
            is_ownerless=one.is_ownerless,
            packages=packages if len(packages) > 1 else (),
            fixed_since=max(
                filter(None, (part.fixed_since for part in finding.packages)), default=None
            ),
            aliases=_shown(", ".join(finding.aliases)),
            reading=_reading(finding),
            sources=_shown(", ".join(one.sources)),
            entry="" if one.exemptions else self._entry(finding),
        )

    def _labels(self, one: JudgedFinding) -> tuple[str, str, str]:
        """The markup that findings of one severity, mark and status share."""
        key = (one.finding.severity, one.mark, one.status)
        if key not in self._said:
            word, sentence = self._words[one.mark]
            label = one.status.label
            self._said[key] = (
                self._common.head(one.finding.severity, one.mark),
                self._common.state(label, word),
                self._common.policy(label, sentence),
            )
        return self._said[key]

    def _entry(self, finding: Finding) -> str:
        """The entry of a ledger that would exempt it, empty where none can name it.

        Who answers for it, why and how long is left empty: the ledger refuses each of the three,
        so that nothing is exempt before a person has said it.
        """
        if not is_issue_id(finding.id):
            return ""
        kind = IssueType.CONFIGURATION
        if finding.kind is not IssueKind.CONFIGURATION:
            kind = IssueType.CVE if is_cve(finding.id) else IssueType.NOTICE
        names = list(dict.fromkeys([self._package(part.name) for part in finding.packages]))
        packages = ""
        if names and all(names):
            packages = f"\n  packages: [{', '.join(names)}]"
        issue = _yaml(finding.id)
        return f"- id: {issue}\n  type: {kind}\n  scope: {self._scope}{packages}\n{_TO_FILL_IN}"

    def _package(self, name: str) -> str:
        """As a ledger names it, empty where none can."""
        if name not in self._packages:
            self._packages[name] = _yaml(name) if is_package_name(name) else ""
        return self._packages[name]


def _reading(finding: Finding) -> list[tuple[str, str, bool]]:
    """Where more is written about it, each with a label, and whether it is an address."""
    found = [("", _shown(finding.link), is_address(finding.link))] if finding.link else []
    for notice in finding.notices:
        label = f"{_shown(notice.id)} (exempt)" if notice.exempt else _shown(notice.id)
        found.append((label, _shown(notice.link), is_address(notice.link)))
    return found


def _yaml(text: str) -> str:
    """A scalar of YAML that is read as this text and nothing else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text)


def _shown(text: str) -> str:
    """Foreign text in one line: nothing in it is invisible, turns the text around or is a command.

    >>> _shown("a\\u202eb\\nc")
    'a b c'
    """
    if text.isprintable() and "##" not in text:
        return text
    return "".join(one if one.isprintable() else " " for one in clean(text))


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"
