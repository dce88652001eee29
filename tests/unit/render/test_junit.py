# SPDX-License-Identifier: Apache-2.0
"""JUnit XML that every reader can parse, and in which nothing undecided counts as a success."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from imgsec.domain.report import Report
from imgsec.domain.verdict import all_of
from imgsec.domain.vulnerability import AffectedPackage, Finding, ScanReport, ScanStatus
from imgsec.render.junit import report_junit
from tests.unit.render.gate_reports import (
    SCANNER,
    hostile_report,
    judged,
    report,
    report_of_all,
    reports,
    warning_report,
)

HOSTILE = (
    "".join(map(chr, range(0x20))) + "\x7f\x85\u2028\u202e\ud800\udfff\ufffe\uffff]]><x a='\"&"
)


def root_of(shown: Report) -> Element:
    """The document; its counts are true, and each case has at most one result."""
    text = report_junit(shown)
    root = fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites"
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(name) == str(sum(one.find(tag) is not None for one in cases))
    for case in root.iter("testcase"):
        assert len({one.tag for one in case if one.tag != "system-out"}) <= 1
        assert case.get("name")
        assert case.get("classname")
    return root


def test_findings_that_refuse_are_failures_and_others_are_skipped() -> None:
    root = root_of(report(judged(reports())))
    (suite,) = root
    cases = {case.get("name"): case for case in suite}
    assert suite.get("failures") == "4"  # the verdict, and three findings
    failure = cases["CVE-2026-2203"].find("failure")
    assert failure is not None
    assert "Upgrade curl" in (failure.text or "")
    skipped = cases["CVE-2025-88410"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "exempt"
    assert cases["verdict"].find("failure") is not None


def test_each_manifest_is_a_suite_and_an_unreachable_image_an_error() -> None:
    root = root_of(report_of_all())
    names = [suite.get("name") or "" for suite in root]
    assert len(names) == 4
    assert names[0].endswith("(linux/amd64)")
    assert root[3].get("errors") == "1"
    assert names[3] == "us.icr.io/team/gone:1"


@pytest.mark.parametrize(
    "shown",
    [
        Report("scan-gate", all_of([])),
        report(judged([])),
        report(judged([ScanReport(SCANNER, ScanStatus.INCOMPLETE)])),
        report(judged([ScanReport(SCANNER, "STRANGE")])),
    ],
)
def test_what_is_undecided_is_an_error(shown: Report) -> None:
    root = root_of(shown)
    assert root.get("errors") == "1"
    assert root.get("failures") == "0"


def test_refused_and_undecided_in_one_has_one_result() -> None:
    """Some readers take the first result only, and refuse a case with two."""
    unfinished = ScanReport(SCANNER, ScanStatus.INCOMPLETE)
    root = root_of(report(judged([*reports(), unfinished])))
    (verdict,) = (case for case in root.iter("testcase") if case.get("name") == "verdict")
    (told,) = verdict
    assert told.tag == "failure"
    assert "scan-incomplete" in (told.text or "")


def test_findings_that_only_warn_are_no_failures() -> None:
    root = root_of(warning_report())
    assert root.get("failures") == "0"
    assert root.get("errors") == "0"
    messages = {one.get("message") for one in root.iter("skipped")}
    assert "would refuse" in messages


def test_control_characters_leave_the_document_whole() -> None:
    shown = hostile_report(HOSTILE)
    text = report_junit(shown)
    assert all(one.isprintable() or one == "\n" for one in text)
    root = root_of(shown)
    assert root.find(".//x") is None
    found = Finding("CVE-2026-1", HOSTILE, packages=(AffectedPackage(HOSTILE),))
    root_of(report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (found,))])))
