# SPDX-License-Identifier: Apache-2.0
"""Foreign text in our lines: it moves no cursor, and it speaks to no log."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imgsec.domain.gate import JudgedFinding, JudgedScan, Mark
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
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Distribution,
    Finding,
    PolicyStatus,
    ScanReport,
    ScanSubject,
    Source,
)
from imgsec.domain.vulnerability import (
    Notice as SecurityNotice,
)
from imgsec.reasons import FINDING_IN_FORCE
from imgsec.render.document import report_document
from imgsec.render.markdown import report_markdown
from imgsec.render.text import clean, report_lines

HOSTILE = "x\r\n::error::pwned\x1b[2J\u2028::set-output::\x07\u202e##[error]\x00\ud800"
IMAGE = ImageReference.parse("r.example/team/app:1").at(Digest.of(b""))


def hostile_report() -> Report:
    package = AffectedPackage(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    finding = Finding(
        HOSTILE,
        HOSTILE,
        link=HOSTILE,
        notices=(SecurityNotice(HOSTILE, HOSTILE),),
        packages=(package, replace(package, name="::error::")),
    )
    scan = JudgedScan(
        ScanSubject(IMAGE, platform=HOSTILE),
        (ScanReport(Source(HOSTILE), "BAD" + HOSTILE, (finding,), Distribution(HOSTILE)),),
        tuple(
            JudgedFinding(replace(finding, id=id), Mark.GATED, PolicyStatus.ACTIVE, (HOSTILE,))
            for id in (HOSTILE, "::error::x")
        ),
        passed(),
    )
    verdict = because(FINDING_IN_FORCE(HOSTILE, hint=HOSTILE), notes=[Note("n", HOSTILE)])
    parts = (
        ImageReport(IMAGE, verdict, ScannedImage(IMAGE, (scan,))),
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
    assert len(rows) == 2 + 2 + 2 + 2
    assert all(row.replace("\\|", "").count("|") == 4 for row in rows[2:4])
    assert all(row.replace("\\|", "").count("|") == 8 for row in rows[6:])
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


LONG_NAME = "golang.org/x/crypto/ssh/knownhosts-and-a-very-long-tail"


def one_finding() -> Report:
    package = AffectedPackage(LONG_NAME, "1:2.3.4-5+deb12u6", "1:2.3.4-5+deb12u7", "Upgrade it")
    finding = Finding("CVE-2026-10000", "1", packages=(package,))
    judged = JudgedFinding(finding, Mark.GATED, PolicyStatus.ACTIVE, ("va",))
    verdict = because(FINDING_IN_FORCE("1 finding"))
    scan = JudgedScan(ScanSubject(IMAGE), (ScanReport(Source("va"), "FAIL"),), (judged,), verdict)
    return Report(
        "scan-gate", verdict, (ImageReport(IMAGE, verdict, ScannedImage(IMAGE, (scan,))),)
    )


def test_table_of_findings_fits_a_terminal_and_no_id_is_cut() -> None:
    lines = list(report_lines(one_finding(), width=116))
    table = [line for line in lines if line.startswith("    ") and "see:" not in line]
    assert all(len(line) <= 116 for line in table)
    row = next(line for line in table if "CVE-2026-10000" in line)
    assert LONG_NAME not in row
    assert ("golang" in row, "-tail" in row, "1:2.3.4-5+deb12u7" in row) == (True, True, True)


def test_nothing_is_cut_where_there_is_no_terminal() -> None:
    assert any(LONG_NAME in line for line in report_lines(one_finding()))
    assert len(list(report_lines(one_finding(), width=1))) == len(list(report_lines(one_finding())))
