# SPDX-License-Identifier: Apache-2.0
"""The scans of one image as lines for people: what helps most first, then the findings in tables.

Vulnerabilities and configuration issues stand apart, as the advisor has them. Texts are foreign;
`imgsec.render.text` takes control characters out of every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imgsec.domain.gate import WOULD_REFUSE, JudgedFinding, JudgedScan, Mark, deploy_words
from imgsec.domain.remedy import remedies
from imgsec.domain.report import ScannedImage
from imgsec.domain.verdict import Verdict
from imgsec.domain.vulnerability import IssueKind
from imgsec.render.columns import Row, aligned, column_widths, narrowed

ROWS_MAX = 50  # of findings of a kind, where nobody asked for all
_COLUMN_MAX = 40  # characters, where nobody says how wide a line may be
_INDENT = "    "
# What may lose its middle, in this order, and what is left of it; an id never does.
_NARROWED = ((("package",), 20), (("installed", "fixed"), 12), (("package",), 8))
_REMEDIES_MAX = 3
_TABLES = (
    (IssueKind.VULNERABILITY, "vulnerabilities", "how to resolve"),
    (IssueKind.CONFIGURATION, "configuration issues", "security practice"),
)
MARK_WORDS = {
    Mark.GATED: "refuses",
    Mark.EXEMPT: "exempt",
    Mark.BELOW_LIMIT: "below the limit",
    Mark.NO_FIX: "no fix",
    Mark.IN_GRACE: "in grace period",
    Mark.IN_BASELINE: "in the baseline",
}

_ADDRESS_MAX_CHARS = 2000
# Stricter than RFC 3986: a host of letters, digits, dots and dashes, and no user before it.
_ADDRESS = re.compile(
    r"https://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:[/?#][\w.~:/?#@!$&()*+,;=%-]*)?", re.A
)


def is_address(text: str) -> bool:
    """Whether foreign text is an address beyond doubt, which may be followed."""
    return len(text) <= _ADDRESS_MAX_CHARS and _ADDRESS.fullmatch(text) is not None


def only_warns(verdict: Verdict) -> bool:
    """Whether it passed although findings are in force."""
    return verdict.passed and any(note.code == WOULD_REFUSE for note in verdict.notes)


def mark_word(mark: Mark, verdict: Verdict) -> str:
    """What the gate makes of a finding, under the verdict of its scan."""
    return "would refuse" if mark is Mark.GATED and only_warns(verdict) else MARK_WORDS[mark]


def scan_lines(found: ScannedImage, *, verbose: bool, width: int | None = None) -> Iterator[str]:
    """Everything that was found, unless all is well and nobody asked.

    width: of the terminal, in columns; None for none, and then nothing is cut.
    """
    for scan in found.scans:
        if verbose or scan.gated or not scan.verdict.passed:
            named = len(found.scans) > 1 or verbose
            yield from _scan(scan, named=named, verbose=verbose, width=width)


def deploy_line(verdicts: Sequence[Verdict]) -> str:
    """May they be deployed, in the advisor's words; counted where there are several."""
    words = [deploy_words(verdict) for verdict in verdicts]
    if len(words) == 1:
        return words[0]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _scan(scan: JudgedScan, *, named: bool, verbose: bool, width: int | None) -> Iterator[str]:
    if named:
        platform = f" ({scan.subject.platform})" if scan.subject.platform else ""
        yield f"  scan of {scan.digest}{platform}: {sources_text(scan)}"
    best = remedies(one.finding for one in scan.gated)
    for number, remedy in enumerate(best[:_REMEDIES_MAX]):
        if number or only_warns(scan.verdict):  # else the first is the hint of the reason
            yield f"  {'then' if number else 'first'} {remedy}"
    for kind, title, resolve in _TABLES:
        rows = [one for one in gated_first(scan) if one.finding.kind is kind]
        shown = rows if verbose else rows[:ROWS_MAX]
        if shown:
            yield f"  {title}:"
            yield from _table(shown, resolve, scan.verdict, width)
        if more := len(rows) - len(shown):
            yield f"  and {more} more {title}; --verbose shows them"


def gated_first(scan: JudgedScan) -> list[JudgedFinding]:
    """The findings in the order in which people need them, where there is no room for all."""
    return sorted(scan.findings, key=lambda one: not one.is_gated)


def sources_text(scan: JudgedScan) -> str:
    """Who was asked, what they said, and how fresh their data is."""
    told = []
    for report in scan.reports:
        moment = report.made_at or report.checked_at
        when = f" of {moment:%Y-%m-%d %H:%M} UTC" if moment else ""
        where = f", {report.distribution}" if str(report.distribution) else ""
        told.append(f"{report.source} says {report.status}{when}{where}")
    return "; ".join(told)


def _table(
    rows: Sequence[JudgedFinding], resolve: str, verdict: Verdict, width: int | None
) -> Iterator[str]:
    # Our own word comes first in each row: the others could begin with a command to the log.
    head = ("gate", "id", "severity", "package", "installed", "fixed", "policy status")
    cells: list[Row] = [head]
    for one in rows:
        for number, package in enumerate(one.finding.packages or (None,)):
            place = ("-",) * 3
            if package is not None:
                place = (package.name, package.installed, package.fixed or "-")
            if number == 0:
                word = mark_word(one.mark, verdict)
                about = (word, one.finding.id, one.finding.severity.word)
                cells.append((*about, *place, one.status.label))
            else:
                cells.append(("+", "", "", *place, ""))
    if width is None:
        lines = aligned(cells, column_widths(cells, most=_COLUMN_MAX), cuts=False)
    else:
        widths = column_widths(cells)
        for names, least in _NARROWED:
            widths = narrowed(head, widths, names, width - len(_INDENT), least=least)
        lines = aligned(cells, widths, cuts=True)
    yield _INDENT + next(lines)
    for one in rows:
        for _ in one.finding.packages or (None,):
            yield _INDENT + next(lines)
        yield from (f"{_INDENT}  {text}" for text in _below(one, resolve))


def _below(one: JudgedFinding, resolve: str) -> Iterator[str]:
    """What does not fit into a row: what to do, where to read on, on whose word it is exempt."""
    finding = one.finding
    actions = dict.fromkeys(package.action for package in finding.packages if package.action)
    if actions:
        yield f"{resolve}: {'; '.join(actions)}"
    links = dict.fromkeys([finding.link, *(notice.link for notice in finding.notices)])
    listed = " ".join(link for link in links if link)
    if listed:
        yield f"see: {listed}"
    whole = one.status.is_exempt
    for entry in one.exemptions:
        about = "exempt" if whole else f"{entry.issue} is exempt"
        yield f"{about} until {entry.expires} by {entry.owner}: {entry.reason}"
    at_source = [notice.id for notice in finding.notices if notice.exempt and not whole]
    if at_source:
        yield f"exempt at the source: {', '.join(at_source)}"
    if one.is_ownerless:
        yield "exempt at the source, on nobody's word"
