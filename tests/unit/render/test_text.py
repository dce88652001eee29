# SPDX-License-Identifier: Apache-2.0
"""Foreign text in our lines: it moves no cursor, and it speaks to no log."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from imgsec.domain.keys import Fingerprint
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import (
    Change,
    ImageReport,
    Report,
    ResolvedImage,
    ScannedImage,
    VerifiedImage,
)
from imgsec.domain.verdict import Note, because, passed
from imgsec.domain.vulnerability import Finding, ScanReport
from imgsec.reasons import FINDING_IN_FORCE
from imgsec.render.document import report_document
from imgsec.render.text import clean, report_lines, report_markdown

HOSTILE = "x\r\n::error::pwned\x1b[2J\u2028::set-output::\x07\u202e##[error]\x00\ud800"
IMAGE = ImageReference.parse("r.example/team/app:1").at(Digest.of(b""))


def hostile_report() -> Report:
    scan = ScanReport("BAD" + HOSTILE, (Finding(HOSTILE, HOSTILE, False),), HOSTILE)
    verdict = because(FINDING_IN_FORCE(HOSTILE, hint=HOSTILE), notes=[Note("n", HOSTILE)])
    parts = (
        ImageReport(IMAGE, verdict, ScannedImage(IMAGE, ((Digest.of(b""), scan),))),
        ImageReport(IMAGE, verdict, ResolvedImage(IMAGE, HOSTILE, True, (HOSTILE,))),
    )
    return Report("scan-gate", verdict, parts, changes=(Change(HOSTILE, "updated"),))


@pytest.mark.parametrize("verbose", [False, True])
def test_hostile_text_stays_in_its_line(verbose: bool) -> None:
    for line in report_lines(hostile_report(), verbose=verbose):
        assert line.isprintable(), line
        assert line.encode()
        # GitHub takes commands at the beginning of a line, and the older form anywhere in it.
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "##vso[" not in line


def test_summary_in_markdown_holds_no_foreign_markup() -> None:
    text = report_markdown(hostile_report())
    assert text.encode()
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert len(rows) == 2 + 2
    assert all(row.replace("\\|", "").count("|") == 4 for row in rows[2:])
    link = FINDING_IN_FORCE("[click](https://evil.example) <img src=x> `code`")
    page = report_markdown(Report("scan-gate", because(link), (ImageReport(IMAGE, because(link)),)))
    assert "[click](" not in page.replace("\\[", "")
    assert "<img" not in page.replace("\\<", "")


def test_plain_text_is_left_alone() -> None:
    text = "openssl 3.0.11-1 -> 3.0.15-1: Pr\u00fcfung \u65e5\u672c (see https://example.com/#x)"
    assert clean(text) == text


def test_document_keeps_foreign_text_as_it_came() -> None:
    document = report_document(hostile_report(), 1)
    assert document["images"][0]["scans"][0]["findings"][0]["summary"] == HOSTILE


def test_times_are_in_utc_and_exact() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    found = VerifiedImage(IMAGE, Fingerprint("AB" * 20), "r.example/team/app:1", moment)
    report = Report("verify-image", passed(), (ImageReport(IMAGE, passed(), found),))
    signature = report_document(report, 0)["images"][0]["signature"]
    assert signature["signedAt"] == "2026-01-02T03:04:05Z"


def test_nothing_to_say_is_still_a_verdict() -> None:
    lines = list(report_lines(Report("x", because(FINDING_IN_FORCE("y")))))
    assert lines[0] == "refused: x"
    assert lines[1].strip() == "finding-in-force: y"
