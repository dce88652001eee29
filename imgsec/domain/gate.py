# SPDX-License-Identifier: Apache-2.0
"""The gate: from what the sources say of one manifest to a verdict. Findings decide, not a status.

Everything that was found stays in sight, each finding with the mark that says whether it is gated
and why not. What loosens the gate is on record in every verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from imgsec.domain.distributions import last_day_of
from imgsec.domain.exemption import Exempter, Exemption, Ledger, is_cve
from imgsec.domain.reference import Digest, shown
from imgsec.domain.remedy import remedies
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.vulnerability import (
    Finding,
    IssueKind,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    ScanSubject,
    Severity,
    Source,
    merged_packages,
)
from imgsec.reasons import (
    ASSESSMENT_REQUIRED,
    DISTRIBUTION_END_OF_LIFE,
    EXEMPTION_EXPIRED,
    FINDING_IN_FORCE,
    NOT_ASSESSED,
    NOTHING_CHECKED,
    SCAN_CONTRADICTION,
    SCAN_INCOMPLETE,
    SCAN_STATUS_UNKNOWN,
    SCAN_TIMEOUT,
    Outcome,
    Reason,
    ReasonKind,
)

_SHOWN_MAX = 5  # findings that a reason names


class Treatment(StrEnum):
    """What becomes of an image that nobody can judge by its findings."""

    UNDECIDED = "undecided"
    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - no password


class Mode(StrEnum):
    """Whether the gate refuses, or only says that it would."""

    ENFORCE = "enforce"
    WARN = "warn"


class Trust(StrEnum):
    """Whose exemptions count besides the ledger's.

    The advisor keeps those of the account, which its service guards. Anybody who can write a report
    can write into it that a finding is suppressed.
    """

    LEDGER = "ledger-only"
    ADVISOR = "ledger-and-advisor"
    SOURCES = "ledger-and-sources"

    def includes(self, source: Source) -> bool:
        return self is Trust.SOURCES or (self is Trust.ADVISOR and source.keeps_exemptions)


@dataclass(frozen=True, slots=True)
class GateRules:
    """What the gate asks of an image; by default every finding in force refuses.

    fail_on: None for every finding in force. counts_unknown: a severity that nobody knows reaches
    fail_on. grace: since a fix appeared. last_days: of distributions, besides the known ones.
    """

    fail_on: Severity | None = None
    counts_unknown: bool = True
    only_fixed: bool = False
    grace: timedelta = timedelta(0)
    trust: Trust = Trust.ADVISOR
    unsupported: Treatment = Treatment.UNDECIDED
    end_of_life: Treatment = Treatment.UNDECIDED
    last_days: Mapping[str, date] = field(default_factory=dict)
    mode: Mode = Mode.ENFORCE

    @property
    def notes(self) -> tuple[Note, ...]:
        """What loosens the gate, for the record."""
        found = []
        if self.fail_on is not None:
            text = f"only findings of severity {self.fail_on.word} and above are gated"
            found.append(Note("fail-on", text))
            if not self.counts_unknown:
                text = "findings whose severity nobody knows are not gated"
                found.append(Note("unknown-severity-ignored", text))
        if self.only_fixed:
            found.append(Note("only-fixed", "findings without a fix are not gated"))
        if self.grace:
            text = f"findings are gated {self.grace.days} days after a fix appeared"
            found.append(Note("grace-period", text))
        if self.trust is Trust.SOURCES:
            text = "what a report calls suppressed is exempt, on nobody's word"
            found.append(Note("sources-trusted", text))
        if self.unsupported is Treatment.PASS:
            text = "an image that nobody could assess for its distribution may pass"
            found.append(Note("unsupported-passes", text))
        if self.end_of_life is Treatment.PASS:
            text = "a distribution that gets no security updates any more may pass"
            found.append(Note("end-of-life-passes", text))
        if self.last_days:
            listed = ", ".join(f"{name} until {day}" for name, day in self.last_days.items())
            text = f"last days of distributions as the gate file has them: {listed}"
            found.append(Note("distribution-dates", text))
        if self.mode is Mode.WARN:
            found.append(Note("warn-mode", "findings in force are told and do not refuse"))
        return tuple(found)


class Mark(StrEnum):
    """Why a finding refuses, or why it does not."""

    GATED = "gated"
    EXEMPT = "exempt"
    BELOW_LIMIT = "below-limit"
    NO_FIX = "no-fix"
    IN_GRACE = "in-grace"
    IN_BASELINE = "in-baseline"


@dataclass(frozen=True, slots=True)
class JudgedFinding:
    """A finding as all sources together tell it, and what the gate makes of it.

    status: how far it is exempt. exemptions: the ledger's entries behind that; none where only the
    advisor exempts it, which says no owner.
    """

    finding: Finding
    mark: Mark
    status: PolicyStatus
    sources: tuple[str, ...]
    exemptions: tuple[Exemption, ...] = ()

    @property
    def is_gated(self) -> bool:
        return self.mark is Mark.GATED

    @property
    def is_ownerless(self) -> bool:
        """Exempt on nobody's word."""
        return self.mark is Mark.EXEMPT and not self.exemptions


@dataclass(frozen=True, slots=True)
class JudgedScan:
    """One manifest: what each source said, every finding, and the verdict."""

    subject: ScanSubject
    reports: tuple[ScanReport, ...]
    findings: tuple[JudgedFinding, ...]
    verdict: Verdict

    @property
    def digest(self) -> Digest:
        return self.subject.digest

    @property
    def gated(self) -> tuple[JudgedFinding, ...]:
        return tuple(one for one in self.findings if one.is_gated)


@dataclass(frozen=True, slots=True)
class Found:
    """A finding as all its sources together tell it."""

    finding: Finding
    sources: tuple[str, ...]


def judge_manifest(
    subject: ScanSubject,
    reports: Sequence[ScanReport],
    rules: GateRules,
    *,
    ledger: Ledger,
    now: datetime,
    known: Collection[tuple[str, str]] | Reason = (),
    troubles: Sequence[Reason] = (),
) -> JudgedScan:
    """Whether one manifest may go out, by all that the sources say of it.

    known: what the baseline has, as `finding_keys` gives it; or why nobody knows that, which leaves
    open what refuses. troubles: why further sources said nothing. A source that has not finished
    leaves the whole undecided, as does one that contradicts itself, whose findings alone do not
    refuse; one that cannot assess the image does so only if no other could.
    """
    unknown = known if isinstance(known, Reason) else None
    listed = () if isinstance(known, Reason) else known
    exempter = Exempter(ledger.entries, subject, now.date())
    believed = [_as_believed(report, rules.trust) for report in reports]
    judged = tuple(_judged(one, rules, exempter, now, listed) for one in combined(believed))
    doubtful = {str(report.source) for report in reports if _contradicts_itself(report)}
    doubtful -= {str(report.source) for report in reports if not _contradicts_itself(report)}
    gated = [one.finding for one in judged if one.is_gated and not doubtful.issuperset(one.sources)]
    reasons = [*troubles, *_unusable(reports, rules), *_end_of_life(reports, rules, now)]
    notes = [Note(*remark) for report in reports for remark in report.remarks]
    notes += [*_exempt_notes(judged), *_disbelieved(reports, rules.trust), *_overruled(reports)]
    if gated and unknown is not None:
        reasons.append(unknown)
    elif gated:
        reasons.append(FINDING_IN_FORCE(_in_force_text(gated, rules), hint=_hint(gated)))
        reasons += [EXEMPTION_EXPIRED(text) for text in _ended(gated, ledger, subject, now)]
    notes += [
        Note("exemption-expired", f"{text}, and is in the baseline")
        for text in _ended(_in_baseline(judged), ledger, subject, now)
    ]
    if not reports and not troubles:
        reasons.append(NOTHING_CHECKED(f"no source was asked about {subject.image}"))
    if rules.mode is Mode.WARN:
        refused = [one for one in reasons if one.outcome is Outcome.REFUSED]
        reasons = [one for one in reasons if one.outcome is not Outcome.REFUSED]
        notes += [Note(WOULD_REFUSE, one.text) for one in refused]
    verdict = because(*reasons, notes=notes) if reasons else passed(*notes)
    return JudgedScan(subject, tuple(reports), judged, verdict)


WOULD_REFUSE = "would-refuse"


def decisive(scan: Verdict, whole: Verdict) -> Verdict:
    """Of a scan's verdict and that of the release around it, the one that decides."""
    return whole if scan.passed and not whole.passed else scan


def deploy_words(verdict: Verdict) -> str:
    """What the verdict means for a deployment, in the advisor's words."""
    if verdict.passed:
        cautious = any(note.code == WOULD_REFUSE for note in verdict.notes)
        return "Deploy with Caution" if cautious else "OK to Deploy"
    if verdict.outcome is Outcome.REFUSED:
        return "Deployment Blocked"
    return "Deployment Blocked (undecided)"


def _as_believed(report: ScanReport, trust: Trust) -> ScanReport:
    """The report without the exemptions of a source that is not trusted to give any."""
    if trust.includes(report.source) or not _exempting(report):
        return report
    return replace(report, findings=tuple(map(_in_force, report.findings)))


def _exempting(report: ScanReport) -> list[Finding]:
    """What the source calls exempt, be it in a part."""
    return [
        one
        for one in report.findings
        if one.status is not PolicyStatus.ACTIVE or any(notice.exempt for notice in one.notices)
    ]


def _in_force(finding: Finding) -> Finding:
    notices = tuple(replace(one, exempt=False) for one in finding.notices)
    return replace(finding, status=PolicyStatus.ACTIVE, notices=notices)


def _disbelieved(reports: Sequence[ScanReport], trust: Trust) -> Iterable[Note]:
    """What a source exempts in vain."""
    for report in reports:
        if not trust.includes(report.source) and (named := _exempting(report)):
            listed = _listed(list(dict.fromkeys(one.id for one in named)))
            text = f"{report.source.name} calls exempt what the gate does not: {listed}"
            yield Note("source-not-trusted", text)


def finding_keys(reports: Iterable[ScanReport]) -> frozenset[tuple[str, str]]:
    """Issue and package of everything that was found there, exempt or not: what is known of it."""
    return frozenset(key for one in combined(reports) for key in _keys(one.finding))


def _keys(finding: Finding) -> tuple[tuple[str, str], ...]:
    names = [package.name for package in finding.packages]
    names += [""] if finding.is_elsewhere or not names else []
    return tuple((finding.id, name) for name in dict.fromkeys(names))


def combined(reports: Iterable[ScanReport]) -> tuple[Found, ...]:
    """Every issue once, with what all sources say of it, the worst severity first.

    Sources agree on CVE ids; what has another id besides goes under the CVE. What one source
    suppresses, another may have in force, and then it is; the exemptions of the account, which an
    advisor keeps, hold for whoever finds the issue.
    """
    found: dict[str, list[tuple[ScanReport, Finding]]] = {}
    for report in reports:
        for finding in report.findings:
            for one in _one_by_one(finding):
                found.setdefault(_common_id(one), []).append((report, _with_names(one)))
    merged = [_merged(issue, parts) for issue, parts in found.items()]
    return tuple(sorted(merged, key=lambda one: (-one.finding.severity, one.finding.id)))


def _one_by_one(finding: Finding) -> Sequence[Finding]:
    """A finding for each CVE: an advisory about several is no other name of any of them."""
    if not finding.aliases:
        return (finding,)
    issues = [name for name in dict.fromkeys(finding.names) if name.startswith("CVE-")]
    if len(issues) < 2:
        return (finding,)
    notices, packages = finding.notices, finding.packages
    if finding.id not in issues:
        notices = (*notices, Notice(finding.id, finding.link))
        packages = tuple(replace(one, notices=(*one.notices, finding.id)) for one in packages)
    return [
        replace(finding, id=issue, aliases=(), notices=notices, packages=packages)
        for issue in issues
    ]


def _with_names(finding: Finding) -> Finding:
    """Its packages say by which further names it is in them; another source's may not be."""
    names = [name for name in finding.names if not is_cve(name)]
    if not names or not finding.aliases:
        return finding
    tagged = [replace(one, notices=(*one.notices, *names)) for one in finding.packages]
    return replace(finding, packages=tuple(tagged))


def _common_id(finding: Finding) -> str:
    return next((name for name in finding.names if name.startswith("CVE-")), finding.id)


def _merged(issue: str, parts: Sequence[tuple[ScanReport, Finding]]) -> Found:
    sources = tuple(dict.fromkeys(str(report.source) for report, _ in parts))
    if len(parts) == 1 and parts[0][1].id == issue:
        return Found(parts[0][1], sources)
    findings = [finding for _, finding in parts]
    keeping = [finding for report, finding in parts if report.source.keeps_exemptions]
    notices = {one.id: one for part in (*findings, *keeping) for one in part.notices}
    packages = merged_packages(one for part in findings for one in part.packages)
    statuses = {finding.status for finding in keeping or findings}
    status = statuses.pop() if len(statuses) == 1 else PolicyStatus.PARTIAL
    if status is PolicyStatus.EXEMPT and any(finding.by_notices for finding in keeping or findings):
        exempt = {notice.id for notice in notices.values() if notice.exempt}
        if not all(exempt.intersection(package.notices) for package in packages):
            status = PolicyStatus.PARTIAL
    first = findings[0]
    aliases = dict.fromkeys(name for finding in findings for name in finding.names)
    aliases.pop(issue, None)
    return Found(
        replace(
            first,
            id=issue,
            kind=min((finding.kind for finding in findings), key=list(IssueKind).index),
            severity=max(finding.severity for finding in findings),
            summary=next((one.summary for one in findings if one.summary), ""),
            link=next((one.link for one in findings if one.link), ""),
            status=status,
            notices=tuple(notices.values()),
            packages=packages,
            knows_fixes=all(finding.knows_fixes for finding in findings),
            is_elsewhere=any(
                finding.is_elsewhere or (bool(packages) and not finding.packages)
                for finding in findings
            ),
            aliases=tuple(aliases),
        ),
        sources,
    )


def _judged(
    found: Found,
    rules: GateRules,
    exempter: Exempter,
    now: datetime,
    known: Collection[tuple[str, str]],
) -> JudgedFinding:
    finding = found.finding
    ruling = exempter.ruling(finding)
    mark = Mark.GATED
    if ruling.status is PolicyStatus.EXEMPT:
        mark = Mark.EXEMPT
    elif not _reaches(finding.severity, rules):
        mark = Mark.BELOW_LIMIT
    elif rules.only_fixed and not finding.is_fixable:
        mark = Mark.NO_FIX
    elif _is_in_grace(finding, rules.grace, now):
        mark = Mark.IN_GRACE
    elif known and all(key in known for key in _keys(finding)):
        mark = Mark.IN_BASELINE
    # Where nothing of ours is said the source's own word stands, as for a notice of several.
    status = finding.status if ruling.status is PolicyStatus.ACTIVE else ruling.status
    if status is PolicyStatus.EXEMPT and mark is not Mark.EXEMPT:
        status = ruling.status
    return JudgedFinding(finding, mark, status, found.sources, ruling.entries)


def _reaches(severity: Severity, rules: GateRules) -> bool:
    if rules.fail_on is None:
        return True
    if severity is Severity.UNKNOWN:
        return rules.counts_unknown
    return severity >= rules.fail_on


def _is_in_grace(finding: Finding, grace: timedelta, now: datetime) -> bool:
    """Every fix of it is younger than the grace period; one of unknown age is not."""
    if finding.is_elsewhere:
        return False
    fixes = [package for package in finding.packages if package.fixed]
    return bool(grace and fixes) and all(
        fix.fixed_since is not None and timedelta(0) <= now - fix.fixed_since < grace
        for fix in fixes
    )


def _unusable(reports: Sequence[ScanReport], rules: GateRules) -> Iterable[Reason]:
    """Why what the sources say is no basis for a verdict."""
    for report in reports:
        status, said = report.status, report.source.name
        if not isinstance(status, ScanStatus):
            yield SCAN_STATUS_UNKNOWN(f"the status of {said} is {shown(status)}")
        elif not status.is_finished:
            kind = SCAN_TIMEOUT if report.is_late else SCAN_INCOMPLETE
            yield kind(f"the scan by {said} is {status.lower()}")
        elif _contradicts_itself(report):
            listed = _listed([finding.id for finding in report.in_force])
            has = f"{listed or 'nothing'} in force" if report.findings else "no findings"
            yield SCAN_CONTRADICTION(f"{said} says {status} and has {has}")
    unsupported = [one for one in reports if one.status is ScanStatus.UNSUPPORTED]
    if unsupported and len(unsupported) == len(reports):
        said = " and ".join(dict.fromkeys(report.source.name for report in unsupported))
        text = f"{said} found nothing in the image that it could assess"
        yield from _treated(rules.unsupported, NOT_ASSESSED, text)


def _contradicts_itself(report: ScanReport) -> bool:
    """The status word says something else than the findings beside it."""
    if report.status is ScanStatus.FAIL:
        return not report.in_force
    if report.status is ScanStatus.WARN and not report.findings:
        return True  # it says that there are some, and that they are exempt
    return report.status in (ScanStatus.OK, ScanStatus.WARN) and bool(report.in_force)


def _overruled(reports: Sequence[ScanReport]) -> list[Note]:
    """That a source could not assess the image, where another one did."""
    unsupported = [one.source.name for one in reports if one.status is ScanStatus.UNSUPPORTED]
    if not unsupported or len(unsupported) == len(reports):
        return []
    text = f"{', '.join(unsupported)} could not assess the image, and others decided"
    return [Note("source-unsupported", text)]


def _end_of_life(
    reports: Sequence[ScanReport], rules: GateRules, now: datetime
) -> Iterable[Reason]:
    """That nobody looks for vulnerabilities in the image's distribution any more."""
    told = set()
    for report in reports:
        said = last_day_of(report.distribution, rules.last_days, {})
        last_day = said or last_day_of(report.distribution)
        ended = last_day is not None and now.date() > last_day
        if said is None:  # the operator's word goes before the source's, and nobody else's
            ended = ended or report.is_end_of_life is True
        name = str(report.distribution) or "the distribution"
        if not ended or name in told:
            continue
        told.add(name)
        since = f" since {last_day}" if last_day is not None else ""
        text = f"{name} has got no security updates{since}, so a scan sees little"
        yield from _treated(rules.end_of_life, DISTRIBUTION_END_OF_LIFE, text)


def _treated(treatment: Treatment, kind: ReasonKind, text: str) -> Iterable[Reason]:
    if treatment is Treatment.UNDECIDED:
        yield kind(text)
    elif treatment is Treatment.REFUSE:
        yield ASSESSMENT_REQUIRED(text)


def _ended(
    gated: Sequence[Finding], ledger: Ledger, subject: ScanSubject, now: datetime
) -> Iterable[str]:
    """What would not refuse, had its exemption not ended."""
    today = now.date()
    for entry in ledger.entries:
        if not entry.holds_on(today) and entry.scope.covers(subject):
            for finding in gated:
                if entry.issue in (*finding.names, *(one.id for one in finding.notices)):
                    yield f"{entry.issue} was exempt until {entry.expires}, by {entry.owner}"
                    break


def _in_baseline(judged: Iterable[JudgedFinding]) -> list[Finding]:
    return [one.finding for one in judged if one.mark is Mark.IN_BASELINE]


def _exempt_notes(judged: Sequence[JudgedFinding]) -> list[Note]:
    exempt = [one for one in judged if one.mark is Mark.EXEMPT]
    ownerless = [one.finding.id for one in exempt if one.is_ownerless]
    notes = []
    if exempt:
        notes.append(Note("findings-exempt", f"{len(exempt)} finding(s) are exempt"))
    if ownerless:
        text = f"exempt at the source, on nobody's word: {_listed(ownerless)}"
        notes.append(Note("ownerless-exemption", text))
    return notes


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_MAX
    return ", ".join(names[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _in_force_text(findings: Sequence[Finding], rules: GateRules) -> str:
    """All findings in a sentence, the first ones by name."""
    named = []
    for finding in findings[:_SHOWN_MAX]:
        where = ", ".join(f"{one.name} {one.installed}".strip() for one in finding.packages[:3])
        named.append(f"{finding.id} (in {where})" if where else finding.id)
    more = len(findings) - _SHOWN_MAX
    listed = ", ".join(named) + (f" and {more} more" if more > 0 else "")
    are = "finding is" if len(findings) == 1 else "findings are"
    unknown = sum(one.severity is Severity.UNKNOWN for one in findings)
    if rules.fail_on is not None and unknown:
        listed += f"; of {unknown} no source says the severity"
    return f"{len(findings)} {are} in force: {listed}"


def _hint(findings: Sequence[Finding]) -> str | None:
    """What helps most; else what the first findings' sources say. None where nobody says."""
    best = remedies(findings)
    if best:
        text = str(best[0])
        return text[0].upper() + text[1:] + "."
    actions = [one.action for finding in findings for one in finding.packages if one.action]
    return "; ".join(list(dict.fromkeys(actions))[:3]) or None
