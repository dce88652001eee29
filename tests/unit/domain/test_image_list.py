# SPDX-License-Identifier: Apache-2.0
"""The words of the status column, the groups, and the order of a list."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from imgsec.domain.gate import deploy_words
from imgsec.domain.image_list import (
    GroupKind,
    ImageGroup,
    ImageListing,
    ListedImage,
    PolicyWord,
    RegistryImage,
    ScanSummary,
    SecurityStatus,
    Standing,
    groups_of,
    in_order,
)
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.verdict import because, passed
from imgsec.domain.vulnerability import ScanStatus
from imgsec.reasons import FINDING_IN_FORCE, TIMEOUT


def image(text: str, content: bytes | None = None) -> RegistryImage:
    digest = None if content is None else Digest.of(content)
    reference = ImageReference.parse(text)
    return RegistryImage(reference if digest is None else reference.at(digest))


def row(text: str, status: SecurityStatus) -> ListedImage:
    return ListedImage(image(text), status)


OK = SecurityStatus(ScanSummary(ScanStatus.OK))
FAIL = SecurityStatus(ScanSummary(ScanStatus.FAIL, 2, 1))


@pytest.mark.parametrize(
    ("summary", "words", "standing"),
    [
        (ScanSummary(ScanStatus.OK), "No Issues", Standing.NO_ISSUES),
        (ScanSummary(ScanStatus.WARN, 0, 2), "No Issues (2 exempt)", Standing.NO_ISSUES),
        (ScanSummary(ScanStatus.WARN, 2, 2), "No Issues (2 exempt)", Standing.NO_ISSUES),
        (ScanSummary(ScanStatus.FAIL, 1), "1 Issue", Standing.ISSUES),
        (ScanSummary(ScanStatus.FAIL, 2, 7), "2 Issues", Standing.ISSUES),
        (ScanSummary(ScanStatus.UNSCANNED), "Scanning", Standing.SCANNING),
        (ScanSummary(ScanStatus.INCOMPLETE), "Scanning", Standing.SCANNING),
        (ScanSummary(ScanStatus.UNSUPPORTED), "Unsupported", Standing.UNSUPPORTED),
        (None, "Not assessed", Standing.NOT_ASSESSED),
    ],
)
def test_each_status_has_its_words(
    summary: ScanSummary | None, words: str, standing: Standing
) -> None:
    status = SecurityStatus(summary)
    assert (status.words, status.standing) == (words, standing)


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (ScanSummary(ScanStatus.OK, 3), "3 Issues"),
        (ScanSummary(ScanStatus.WARN, 3, 2), "3 Issues"),
        (ScanSummary(ScanStatus.FAIL, 0), "FAIL"),
    ],
)
def test_contradiction_is_never_no_issues(summary: ScanSummary, words: str) -> None:
    status = SecurityStatus(summary)
    assert (status.words, status.standing) == (words, Standing.ISSUES)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("QUARANTINED", "QUARANTINED"),
        ("BLOCK", "BLOCK"),
        ("ok", "'ok'"),
        ("No Issues", "'No Issues'"),
        ("No Issues\x1b[2K", "'No Issues\\x1b[2K'"),
        ("", "''"),
    ],
)
def test_unknown_word_is_shown_and_cannot_pose_as_one_of_ours(word: str, shown: str) -> None:
    status = SecurityStatus(ScanSummary(word))
    assert (status.words, status.standing) == (shown, Standing.UNKNOWN)


def test_error_is_no_status_whatever_else_is_known() -> None:
    status = SecurityStatus(ScanSummary(ScanStatus.OK), TIMEOUT("late"))
    assert (status.words, status.standing) == ("No answer", Standing.NO_ANSWER)


@pytest.mark.parametrize(
    ("counts", "policy"),
    [
        ({Standing.NO_ISSUES: 2}, PolicyWord.OK),
        ({Standing.NO_ISSUES: 9, Standing.ISSUES: 1, Standing.SCANNING: 1}, PolicyWord.BLOCKED),
        *(
            ({Standing.NO_ISSUES: 9, one: 1}, PolicyWord.NOT_ASSESSED)
            for one in Standing
            if one not in (Standing.NO_ISSUES, Standing.ISSUES)
        ),
        ({}, PolicyWord.NOT_ASSESSED),
    ],
)
def test_worst_image_speaks_for_its_group(counts: dict[Standing, int], policy: PolicyWord) -> None:
    assert ImageGroup("a", counts).policy is policy


def test_groups_say_what_the_gate_says() -> None:
    assert deploy_words(passed()) == PolicyWord.OK
    assert deploy_words(because(FINDING_IN_FORCE("x"))) == PolicyWord.BLOCKED


def test_rows_are_summed_up_by_repository_and_by_namespace() -> None:
    rows = [row("r.io/b/x:1", OK), row("r.io/a/y:1", FAIL), row("r.io/a/y:2", OK),
            row("r.io/a/x:1", OK)]  # fmt: skip
    by_repository = groups_of(rows, GroupKind.REPOSITORY)
    assert [(one.name, one.total, one.policy) for one in by_repository] == [
        ("r.io/a/x", 1, PolicyWord.OK),
        ("r.io/a/y", 2, PolicyWord.BLOCKED),
        ("r.io/b/x", 1, PolicyWord.OK),
    ]
    by_namespace = groups_of(rows, GroupKind.NAMESPACE)
    assert [(one.name, dict(one.counts)) for one in by_namespace] == [
        ("r.io/a", {Standing.NO_ISSUES: 2, Standing.ISSUES: 1}),
        ("r.io/b", {Standing.NO_ISSUES: 1}),
    ]
    assert ImageListing("r.io", tuple(rows)).groups == ()


def test_list_has_each_image_once_and_in_order() -> None:
    old, new = image("r.io/a/x:2", b"1"), image("r.io/a/x:2", b"2")
    untagged, known = image("r.io/a/x", b"3"), image("r.io/a/x", b"1")
    rest = image("r.io/a/x:1", b"4"), image("r.io/a/b:9")
    assert in_order([untagged, old, new, known, *rest]) == (rest[1], rest[0], old, untagged)


def test_image_has_one_name_however_its_registry_is_reached() -> None:
    assert image("private.us.icr.io/a/b:1").name == image("us.icr.io/a/b:1").name
    digest = Digest.of(b"x")
    assert image("us.icr.io/a/b", b"x").name == f"us.icr.io/a/b@{digest}"
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert RegistryImage(ImageReference.parse("r.io/a:1"), moment).name == "r.io/a:1"
