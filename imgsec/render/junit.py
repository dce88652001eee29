# SPDX-License-Identifier: Apache-2.0
"""A gate's report as JUnit XML, for whatever shows test results: a suite for each manifest.

A finding that refuses is a failure, one that does not is skipped with the reason why; what could
not be decided is an error, so that no page counts it as a success.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from imgsec.domain.admission import Admission
from imgsec.domain.gate import JudgedFinding, JudgedScan, Mark
from imgsec.domain.report import ImageReport, Report, ScannedImage
from imgsec.domain.verdict import Note, Verdict
from imgsec.reasons import Outcome
from imgsec.render.admission_document import subject
from imgsec.render.scan_text import MARK_WORDS, mark_word
from imgsec.render.text import clean

if TYPE_CHECKING:
    from imgsec.domain.lint_catalogue import LintFinding
    from imgsec.domain.policy_lint import Lint


def report_junit(report: Report) -> str:
    """The document."""
    root = Element("testsuites", name=f"imgsec {report.command}")
    for part in report.images:
        found = part.scan
        for scan in found.scans if found is not None else ():
            _suite(root, scan)
        if not isinstance(part.found, ScannedImage):
            _answered(root, part)
    for admission in report.admissions:
        _admission(root, admission)
    if report.tests:
        _tests(root, report)
    if report.lint is not None:
        _lint(root, report.lint)
    if not (report.images or report.admissions or report.tests or report.lint):
        suite = SubElement(root, "testsuite", name=f"imgsec {report.command}")
        _verdict(suite, report.verdict, f"imgsec {report.command}")
        _count(suite)
    _count(root)
    text = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(root: Element, scan: JudgedScan) -> None:
    platform = f" ({_plain(scan.subject.platform)})" if scan.subject.platform else ""
    name = f"{scan.subject.image.name}@{scan.digest}{platform}"
    suite = SubElement(root, "testsuite", name=name)
    _verdict(suite, scan.verdict, name)
    for one in scan.findings:
        _finding(suite, one, name, mark_word(one.mark, scan.verdict))
    _count(suite)


def _admission(root: Element, admission: Admission) -> None:
    """A predicted admission: one result, of the engine's answer to the object."""
    suite = SubElement(root, "testsuite", name=_plain(subject(admission)))
    name = _plain(subject(admission))
    _verdict(suite, admission.verdict, name, "admission", admission.not_checked)
    _count(suite)


def _tests(root: Element, report: Report) -> None:
    """A suite of expected admissions: a case for each test."""
    suite = SubElement(root, "testsuite", name=f"imgsec {report.command}")
    for test in report.tests:
        name = f"imgsec {report.command}"
        _verdict(suite, test.verdict, name, _plain(test.name), test.not_checked)
    _count(suite)


def _answered(root: Element, part: ImageReport) -> None:
    """An image without a scan of its own: the steps of a release, or why there is no scan."""
    name = str(part.asked)
    suite = SubElement(root, "testsuite", name=name)
    for word, step in part.steps:
        _verdict(suite, step.verdict, name, word)
    if not part.steps:
        _verdict(suite, part.verdict, name)
    _count(suite)


def _verdict(
    suite: Element,
    verdict: Verdict,
    name: str,
    word: str = "verdict",
    unchecked: Iterable[Note] = (),
) -> None:
    """A verdict: passed, refused or not decided. unchecked: what nobody looked at for a pass."""
    case = SubElement(suite, "testcase", classname=name, name=word)
    if verdict.passed:
        lines = [_plain(f"not checked: {note.code}: {note.text}") for note in unchecked]
        if lines:
            SubElement(case, "system-out").text = "\n".join(lines)
        return
    # One result for all reasons, the worst of them: a case with two is refused by some readers.
    kind = "failure" if verdict.outcome is Outcome.REFUSED else "error"
    worst = max(verdict.reasons, key=lambda reason: reason.outcome)
    told = SubElement(case, kind, type=worst.code, message=_plain(worst.text))
    told.text = "\n".join(
        _plain(f"{reason.code}: {reason.text} {reason.hint}") for reason in verdict.reasons
    )


def _finding(suite: Element, one: JudgedFinding, name: str, word: str) -> None:
    finding = one.finding
    case = SubElement(suite, "testcase", classname=name, name=_plain(finding.id))
    lines = [
        _plain(f"{part.name} {part.installed}: {part.action or part.fixed or 'no fix is known'}")
        for part in finding.packages
    ]
    text = "\n".join([_plain(finding.summary), *lines])
    if word == MARK_WORDS[Mark.GATED]:
        message = f"{finding.id} is in force, severity {finding.severity.word}"
        told = SubElement(case, "failure", type=finding.severity.word, message=_plain(message))
        told.text = text
    else:
        SubElement(case, "skipped", message=word)
        SubElement(case, "system-out").text = text


def _lint(root: Element, lint: Lint) -> None:
    """A suite for each file, and in it a case for each finding; one that passes for a clean one."""
    by_file: dict[str, list[LintFinding]] = {where: [] for where in lint.files}
    for one in lint.findings:
        by_file[one.where].append(one)
    for where, found in by_file.items():
        suite = SubElement(root, "testsuite", name=_plain(where))
        if not found:
            SubElement(suite, "testcase", classname=_plain(where), name="no findings")
        for one in found:
            name = _plain(f"{one.kind.code} at line {one.line}")
            case = SubElement(suite, "testcase", classname=_plain(where), name=name)
            text = _plain(f"{one.text} {one.image} {one.hint}")
            if one.level in lint.refusing:
                told = SubElement(case, "failure", type=one.kind.code, message=_plain(one.text))
                told.text = text
            else:
                SubElement(case, "skipped", message=one.level.value)
                SubElement(case, "system-out").text = text
        _count(suite)


def _plain(text: str) -> str:
    """As `clean`, and without what XML has no place for. Source: XML 1.0, section 2.2."""
    return re.sub("[\ufffe\uffff]", " ", clean(text))


def _count(element: Element) -> None:
    cases = list(element.iter("testcase"))
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    element.attrib.update({word: str(count) for word, count in counts.items()})
