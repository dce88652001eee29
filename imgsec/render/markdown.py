# SPDX-License-Identifier: Apache-2.0
"""A report in Markdown, for a job's page: short where that is enough, and never too long for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgsec.domain.report import ImageReport, Report, SignedImage
from imgsec.domain.vulnerability import IssueKind
from imgsec.render.text import clean

if TYPE_CHECKING:
    from imgsec.domain.gate import JudgedFinding, JudgedScan
    from imgsec.domain.image_list import ImageListing
    from imgsec.domain.policy_lint import Lint

_MAX_BYTES = 512 * 1024  # GitHub shows at most 1 MiB of summary per step, of all commands in it
_CELL_MAX_CHARS = 300
_REASON_MAX_CHARS = 1500
_ROWS_MAX = 200  # of findings, of all images together; a page with more is read by nobody
_NOTES_MAX = 20  # of one workload
_LEAST_ROWS = 20  # for each kind of finding, if there are as many
_LINK = re.compile(r"https://[A-Za-z0-9./_~:?&=%#+-]+")


def report_markdown(report: Report) -> str:
    """The whole report; what does not fit is counted, and nothing is cut in its middle."""
    lines: list[str] = []
    size = 0
    for line in _lines(report):
        size += len(line.encode()) + 1
        if size > _MAX_BYTES:
            lines.append("\n*More does not fit here; the JSON and HTML reports have all of it.*")
            break
        lines.append(line)
    return "\n".join(lines) + "\n\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"### imgsec {report.command}: {report.verdict.outcome.word}"
    yield ""
    if report.images:
        yield "| image | verdict | why |"
        yield "|---|---|---|"
    for part in report.images:
        yield _row(part)
    for part in report.images:
        if part.steps:
            yield ""
            yield from _steps(part)
    for one in report.running:
        if not one.verdict.passed:
            yield f"- running: {one.verdict.outcome.word}: `{_cell(one.image)}`"
    for change in report.changes:
        yield f"- {change.state}: `{_cell(change.target)}`"
    if not report.images:
        for reason in report.verdict.reasons:
            yield f"- `{reason.code}` {_cell(reason.text, _REASON_MAX_CHARS)}"
    yield from _scans(report)
    yield from _admissions(report)
    if report.listing is not None:
        yield from _listing(report.listing)
    if report.lint is not None:
        yield from _lint(report.lint)
    for note in report.verdict.notes:
        yield f"- note: `{note.code}` {_cell(note.text, _REASON_MAX_CHARS)}"


def _row(part: ImageReport) -> str:
    name = str(part.found.image if part.found else part.asked)
    why = "<br>".join(
        f"`{one.code}` {_cell(one.text, _REASON_MAX_CHARS)} *{_cell(one.hint)}*"
        for one in part.verdict.reasons
    )
    return f"| `{name}` | {part.verdict.outcome.word} | {why} |"


def _scans(report: Report) -> Iterator[str]:
    room = _ROWS_MAX
    for part in report.images:
        found = part.scan
        for scan in found.scans if found is not None else ():
            yield from _scan(part, scan, room)
            room = max(0, room - len(scan.findings))


def _steps(part: ImageReport) -> Iterator[str]:
    """What a release came to: how far, and what it left signed."""
    for name, step in part.steps:
        found = step.found
        more = ""
        if isinstance(found, SignedImage):
            names = ", ".join(f"`{one}`" for one in found.names)
            more = f": {names} at `{found.image.digest}` by `{found.signer}`"
        yield f"- {name}: {step.verdict.outcome.word}{more}"


def _scan(part: ImageReport, scan: JudgedScan, room: int) -> Iterator[str]:
    from imgsec.domain.gate import decisive, deploy_words
    from imgsec.domain.remedy import remedies
    from imgsec.render.scan_text import gated_first, mark_word

    platform = f" ({_cell(scan.subject.platform)})" if scan.subject.platform else ""
    words = deploy_words(decisive(scan.verdict, part.verdict))
    yield ""
    yield f"#### `{scan.subject.image.name}@{scan.digest}`{platform}: {words}"
    yield ""
    for remedy in remedies(one.finding for one in scan.gated)[:3]:
        yield f"- {_cell(str(remedy))}"
    if not scan.findings:
        yield "No findings." if scan.verdict.passed else "No findings, and no verdict: see above."
        return
    yield ""
    yield "| | id | severity | package | installed | fixed | policy status |"
    yield "|---|---|---|---|---|---|---|"
    shown = _chosen(gated_first(scan), room)
    for one in shown:
        yield _finding(one, mark_word(one.mark, scan.verdict))
    if len(scan.findings) > len(shown):
        yield ""
        more = len(scan.findings) - len(shown)
        yield f"And {more} more findings, which the JSON and HTML reports have."
    yield ""


def _chosen(findings: list[JudgedFinding], room: int) -> list[JudgedFinding]:
    """As many as there is room for, gated first, and some of each kind: vulnerabilities first."""
    of_kind = {kind: [one for one in findings if one.finding.kind is kind] for kind in IssueKind}
    least = [one for some in of_kind.values() for one in some[:_LEAST_ROWS]]
    there = set(map(id, least))
    chosen = [*least, *(one for one in findings if id(one) not in there)][:room]
    return [one for kind in IssueKind for one in chosen if one.finding.kind is kind]


def _finding(one: JudgedFinding, word: str) -> str:
    finding = one.finding
    link = finding.link or next((notice.link for notice in finding.notices if notice.link), "")
    name = _cell(finding.id)
    if _LINK.fullmatch(link):
        name = f"[{name}]({link})"
    cells = zip(
        *((part.name, part.installed, part.fixed) for part in finding.packages), strict=True
    )
    columns = ["<br>".join(map(_cell, column)) for column in cells] or ["", "", ""]
    gated = f"**{word}**" if one.is_gated else ""
    row = (gated, name, finding.severity.word, *columns, one.status.label)
    return f"| {' | '.join(row)} |"


def _listing(listing: ImageListing) -> Iterator[str]:
    from imgsec.render.listing import summary_line, table

    rows = table(listing, verbose=True)
    yield ""
    yield f"#### `{listing.scope}`"
    yield ""
    yield _cell(summary_line(listing))
    yield ""
    for number, row in enumerate(rows):
        yield f"| {' | '.join(map(_cell, row))} |"
        if number == 0:
            yield "|" + "---|" * len(row)
    yield ""


def _lint(lint: Lint) -> Iterator[str]:
    from imgsec.domain.lint_catalogue import Level
    from imgsec.render.lint_text import decision_line

    yield ""
    yield _cell(lint.summary)
    yield ""
    shown = sorted(lint.findings, key=lambda one: tuple(Level).index(one.level))
    if shown:
        yield "| | where | finding | what | image |"
        yield "|---|---|---|---|---|"
    for one in shown:
        place = f"{_cell(one.where)}:{one.line}"
        text = f"{_cell(one.text, _REASON_MAX_CHARS)} *{_cell(one.hint)}*"
        yield f"| {one.level} | {place} | `{one.kind.code}` | {text} | {_cell(one.image)} |"
    for decision in lint.decisions:
        yield f"- {_cell(decision_line(decision), _REASON_MAX_CHARS)}"
    yield ""


def _admissions(report: Report) -> Iterator[str]:
    """Workloads, or the tests of a suite: what no engine looked at belongs to each pass."""
    from imgsec.render.admission_document import subject

    workloads = [(subject(one), one.verdict, one.not_checked) for one in report.admissions]
    tests = [(one.name, one.verdict, one.not_checked) for one in report.tests]
    for word, rows in (("workload", workloads), ("test", tests)):
        if not rows:
            continue
        yield ""
        yield f"| {word} | verdict | not checked |"
        yield "|---|---|---|"
        for name, verdict, notes in sorted(rows, key=lambda one: -one[1].outcome)[:_ROWS_MAX]:
            told = [f"`{note.code}` {_cell(note.text)}" for note in notes[:_NOTES_MAX]]
            if len(notes) > _NOTES_MAX:
                told.append(f"and {len(notes) - _NOTES_MAX} more")
            yield f"| {_cell(name)} | {verdict.outcome.word} | {'<br>'.join(told)} |"
        yield ""
        if len(rows) > _ROWS_MAX:
            yield f"And {len(rows) - _ROWS_MAX} more, which the JSON report has."
            yield ""


def _cell(text: str, most: int = _CELL_MAX_CHARS) -> str:
    """Foreign text inside a table cell: no markup, no link, no mention, no further cell."""
    text = clean(text)
    if len(text) > most:  # between words, and marked: half an id is another id
        text = f"{text[:most].rpartition(' ')[0] or text[:most]} \u2026"
    text = re.sub(r"([\\`*_{}\[\]()<>#|!~@:&])", r"\\\1", text)
    return text.replace("www.", "www\\.")
