# SPDX-License-Identifier: Apache-2.0
"""A list as text, JSON and Markdown: columns, widths, and nothing foreign that could speak."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from imgsec.domain.image_list import (
    GroupKind,
    ImageListing,
    ListedImage,
    RegistryImage,
    ScanSummary,
    SecurityStatus,
)
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import Report
from imgsec.domain.verdict import because, passed
from imgsec.domain.vulnerability import ScanStatus
from imgsec.reasons import TIMEOUT
from imgsec.render.document import report_document
from imgsec.render.listing import size_text, table
from imgsec.render.markdown import report_markdown
from imgsec.render.text import report_lines
from tests.support import ROOT

DIGEST = "sha256:" + "4f" * 32
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())


def row(name: str, status: SecurityStatus, **changes: Any) -> ListedImage:
    image = ImageReference.parse(f"us.icr.io/{name}@{DIGEST}")
    known = RegistryImage(image, MOMENT, 48_210_331, "application/x")
    return ListedImage(replace(known, **changes), status)


ROWS = (
    row("team/app:1.0", SecurityStatus(ScanSummary(ScanStatus.FAIL, 2, 1, MOMENT))),
    row("team/app", SecurityStatus(), created=None, size=None, media_type=""),
    row("team/web:2", SecurityStatus(ScanSummary(ScanStatus.WARN, 0, 3, MOMENT))),
    row("tools/x:1", SecurityStatus(ScanSummary("\x1b[31mNo Issues"))),
    row("tools/y:1", SecurityStatus(reason=TIMEOUT("late"))),
)
LISTING = ImageListing("us.icr.io", ROWS)
REPORT = Report("images", passed(), listing=LISTING)


def document(report: Report) -> Any:
    code = 0 if report.verdict.passed else 3
    found = json.loads(json.dumps(report_document(report, code)))
    jsonschema.validate(found, SCHEMA)
    return found["listing"]


def test_table_has_the_usual_columns() -> None:
    lines = list(report_lines(REPORT))
    assert lines == [
        "REPOSITORY          TAG  DIGEST        NAMESPACE  CREATED     SIZE   SECURITY STATUS",
        "us.icr.io/team/app  1.0  4f4f4f4f4f4f  team       2026-01-02  48 MB  2 Issues",
        "us.icr.io/team/app  -    4f4f4f4f4f4f  team       -           -      Not assessed",
        "us.icr.io/team/web  2    4f4f4f4f4f4f  team       2026-01-02  48 MB  No Issues (3 exempt)",
        "us.icr.io/tools/x   1    4f4f4f4f4f4f  tools      2026-01-02  48 MB  '\\x1b[31mNo Issues'",
        "us.icr.io/tools/y   1    4f4f4f4f4f4f  tools      2026-01-02  48 MB  No answer",
        "us.icr.io: 5 images, 1 no issues, 1 with issues, 1 not assessed, 1 unknown, 1 no answer",
    ]


def test_digests_may_be_whole_and_there_may_be_more_columns() -> None:
    whole = replace(REPORT, listing=replace(LISTING, whole_digests=True))
    assert DIGEST in list(report_lines(whole))[1]
    head, first, second, *_ = list(report_lines(REPORT, verbose=True))
    assert head.endswith("EXEMPT  CHECKED           MEDIA TYPE")
    assert first.split()[-4:] == ["1", "2026-01-02", "03:04", "application/x"]
    assert second.split()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize("width", [80, 90, 100, 120])
def test_table_fits_a_terminal_and_is_whole_elsewhere(width: int) -> None:
    name = "team/" + "very-long-name-" * 8
    long = ImageListing("us.icr.io", (row(f"{name}x:1", ROWS[0].status), *ROWS[:2]))
    report = Report("images", passed(), listing=long)
    cut = list(report_lines(report, width=width))[:-1]
    assert max(map(len, cut)) <= width
    assert "2 Issues" in cut[1]
    assert cut[1].startswith("team/")
    assert f"us.icr.io/{name}x " in list(report_lines(report))[1]
    whole = replace(report, listing=replace(long, whole_digests=True))
    assert f"us.icr.io/{name}x  " in list(report_lines(whole, width=width))[1]


@pytest.mark.parametrize("by", [None, *GroupKind])
def test_narrow_table_loses_names_and_never_a_status(by: GroupKind | None) -> None:
    report = replace(REPORT, listing=replace(LISTING, by=by))
    wide, narrow = (list(report_lines(report, width=width)) for width in (None, 10))
    assert [line.split("  ")[-1] for line in wide] == [line.split("  ")[-1] for line in narrow]


def test_terminal_that_is_too_narrow_is_no_error() -> None:
    assert len(list(report_lines(REPORT, width=1))) == 7


def test_groups_are_counted_and_have_a_policy_status() -> None:
    report = replace(REPORT, listing=replace(LISTING, by=GroupKind.NAMESPACE))
    lines = [line.split() for line in report_lines(report)]
    assert lines[0][:2] == ["NAMESPACE", "IMAGES"]
    assert lines[1] == ["us.icr.io/team", *"3 1 1 0 0 1 0 0".split(), "Deployment", "Blocked"]
    assert lines[2] == ["us.icr.io/tools", *"2 0 0 0 0 0 1 1".split(), "Not", "assessed"]


def test_columns_that_nobody_expects_are_there_only_if_needed() -> None:
    listing = ImageListing("us.icr.io", ROWS[:3], GroupKind.REPOSITORY)
    (head, *rows) = table(listing, verbose=False)
    assert "UNKNOWN" not in head
    assert "NO ANSWER" not in head
    assert [one[-1] for one in rows] == ["Deployment Blocked", "OK to Deploy"]


def test_report_that_is_undecided_says_so_below_the_table() -> None:
    verdict = because(TIMEOUT("1 image has no status: late"))
    lines = list(report_lines(replace(REPORT, verdict=verdict)))
    assert lines[7:9] == ["undecided: images", "  timeout: 1 image has no status: late"]


def test_json_has_every_row_and_keeps_the_schema() -> None:
    found = document(REPORT)
    assert found["scope"] == "us.icr.io"
    first, untagged, *_, unknown, late = found["images"]
    assert first == {
        "image": "us.icr.io/team/app:1.0",
        "registry": "us.icr.io",
        "namespace": "team",
        "repository": "us.icr.io/team/app",
        "tag": "1.0",
        "digest": DIGEST,
        "created": "2026-01-02T03:04:05Z",
        "size": 48210331,
        "mediaType": "application/x",
        "securityStatus": {
            "words": "2 Issues",
            "standing": "issues",
            "status": "FAIL",
            "issues": 2,
            "exempt": 1,
            "checkedAt": "2026-01-02T03:04:05Z",
            "reason": None,
        },
    }
    assert (untagged["image"], untagged["tag"]) == (f"us.icr.io/team/app@{DIGEST}", None)
    assert untagged["securityStatus"]["status"] is None
    assert unknown["securityStatus"]["standing"] == "unknown"
    assert late["securityStatus"]["reason"] == "timeout"


@pytest.mark.parametrize("by", GroupKind)
def test_json_has_the_groups_besides(by: GroupKind) -> None:
    found = document(replace(REPORT, listing=replace(LISTING, by=by)))
    assert found["by"] == by
    assert len(found["images"]) == 5
    assert sum(group["images"] for group in found["groups"]) == 5
    assert found["groups"][0]["policyStatus"] == "Deployment Blocked"


def test_markdown_has_a_table_without_foreign_markup() -> None:
    text = report_markdown(REPORT)
    assert "| REPOSITORY | TAG | DIGEST |" in text
    assert "| us.icr.io/team/app | 1.0 | 4f4f4f4f4f4f | team |" in text
    assert "\x1b" not in text
    hostile = row("a/b:1", SecurityStatus(ScanSummary("<b>|[x](https://evil.example)")))
    text = report_markdown(replace(REPORT, listing=ImageListing("us.icr.io", (hostile,))))
    assert "<b>" not in text
    assert "](https" not in text


def test_markdown_is_bounded() -> None:
    rows = tuple(row(f"a/b:{number}", ROWS[0].status) for number in range(10_000))
    text = report_markdown(replace(REPORT, listing=ImageListing("us.icr.io", rows)))
    assert len(text.encode()) < 513 * 1024
    assert "More does not fit here" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1499, "1.5 kB"), (999_999, "1.0 MB"),
     (48_210_331, "48 MB"), (9_940_000, "9.9 MB"), (2**62, "4611686 TB")],
)  # fmt: skip
def test_sizes_are_short(size: int, text: str) -> None:
    assert size_text(size) == text
