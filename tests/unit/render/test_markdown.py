# SPDX-License-Identifier: Apache-2.0
"""Markdown for a job's page: short enough for it, and without markup of others."""

from __future__ import annotations

import re

import pytest

from imgsec.domain.vulnerability import AffectedPackage, Finding, IssueKind, ScanReport, ScanStatus
from imgsec.render.markdown import report_markdown
from tests.unit.render.gate_reports import (
    SCANNER,
    hostile_report,
    huge_report,
    judged,
    report,
    report_of_all,
    reports,
    warning_report,
)

HOSTILE = (
    "x\r\n::error::y\x1b[2J\u2028\u202e##[error]\x00\ud800",
    "a|b|c",
    "[click](https://evil.example)",
    "<img src=https://evil.example/x>",
    "`code` **bold** @everyone #1 https://evil.example www.evil.example",
    "\\| \\",
    "&lt;b&gt; &#124; &vert;",
)


def test_findings_are_in_a_table_with_what_helps_most_before() -> None:
    text = report_markdown(report(judged(reports())))
    assert "Deployment Blocked" in text
    row = next(line for line in text.splitlines() if "CVE-2026-2203" in line and "|" in line[:1])
    assert row.startswith("| ")
    assert text.index("clears 1 of 3") < text.index("| | id |")
    assert text.count("**refuses**") == 3


def test_every_image_and_platform_is_there() -> None:
    text = report_markdown(report_of_all())
    for said in ("linux/amd64", "linux/arm64", "us.icr.io/team/gone:1", "No findings."):
        assert said in text


def test_findings_that_only_warn_would_refuse() -> None:
    text = report_markdown(warning_report())
    assert "Deploy with Caution" in text
    assert "**refuses**" not in text
    assert "**would refuse**" in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_foreign_text_is_text(hostile: str) -> None:
    text = report_markdown(hostile_report(hostile))
    text.encode()
    assert all(line.isprintable() for line in text.splitlines())
    assert not any(line.startswith("::") for line in text.splitlines())
    bare = re.sub(r"\\.", "", text)
    assert "](" not in bare
    assert "<img" not in bare
    assert "@everyone" not in bare
    assert not re.search(r"(?<!\\)&(?:#|[a-z])", text)
    for line in bare.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (4, 8), line


def test_thousands_of_findings_fit_and_are_counted() -> None:
    text = report_markdown(huge_report(5000))
    assert len(text.encode()) <= 512 * 1024
    assert "And 4800 more findings" in text


def test_kinds_do_not_crowd_each_other_out() -> None:
    many = [Finding(f"CVE-2026-{number}") for number in range(1000, 1400)]
    issues = [Finding(f"config:{n}", kind=IssueKind.CONFIGURATION) for n in range(30)]
    text = report_markdown(report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (*many, *issues))])))
    assert sum("CVE-2026-" in line[:40] for line in text.splitlines()) == 180
    assert sum("config\\:" in line[:40] for line in text.splitlines()) == 20
    assert "And 230 more findings" in text


def test_long_text_ends_between_words_and_says_so() -> None:
    finding = Finding("CVE-2026-1000", packages=(AffectedPackage("a " * 400),))
    text = report_markdown(report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (finding,))])))
    assert "a \u2026 |" in text


def test_endless_texts_fit() -> None:
    findings = [
        Finding(
            f"CVE-2026-{number}",
            packages=tuple(AffectedPackage(f"p{part}" + "\u20ac" * 300) for part in range(20)),
        )
        for number in range(200)
    ]
    shown = report(judged([ScanReport(SCANNER, ScanStatus.FAIL, tuple(findings))]))
    text = report_markdown(shown)
    assert len(text.encode()) <= 513 * 1024
    assert "More does not fit here" in text
