# SPDX-License-Identifier: Apache-2.0
"""What refuses a ledger, and what its keepers are only told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from imgsec.domain.exemption import Ledger
from imgsec.domain.exemption_review import (
    ChangedPlace,
    LedgerChange,
    ReviewRules,
    images_in,
    review_ledger,
)
from imgsec.domain.verdict import Verdict

TODAY = date(2026, 5, 1)
RULES = ReviewRules(TODAY)
DIGEST = "sha256:" + "1a" * 32
WHOLE: dict[str, Any] = {
    "id": "CVE-2026-1000",
    "scope": "us.icr.io/team/app:1",
    "owner": "jane",
    "reason": "not reachable",
    "expires": "2026-09-01",
}


def ledger(*changes: dict[str, Any]) -> Ledger:
    entries = [{**WHOLE, **one} for one in changes]
    items = [{name: text for name, text in one.items() if text is not None} for one in entries]
    return Ledger.parse({"version": 1, "exemptions": items})


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def reviewed(*changes: dict[str, Any], **rest: Any) -> list[str]:
    return codes(review_ledger(ledger(*changes), RULES, **rest))


def test_ledger_without_flaws_passes() -> None:
    verdict = review_ledger(ledger({}, {"scope": f"team/app@{DIGEST}"}), RULES, used=None)
    assert (verdict.passed, verdict.notes) == (True, ())
    assert review_ledger(Ledger(), RULES).passed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"owner": None}, "exemption-invalid"),
        ({"expires": "2026-99-99"}, "exemption-invalid"),
        ({"id": "cve-2026-1000"}, "exemption-invalid"),
        ({"reason": "a\u202eb"}, "exemption-invalid"),
        ({"reason": "a\ud800"}, "exemption-invalid"),
        ({"owner": "a\x1b[31m"}, "exemption-invalid"),
        ({"expires": "2026-04-30"}, "exemption-expired"),
        ({"expires": "2027-05-03"}, "exemption-too-wide"),
        ({"expires": "9999-12-31"}, "exemption-too-wide"),
        ({"scope": "team"}, "exemption-too-wide"),
        ({"scope": "us.icr.io/team"}, "exemption-too-wide"),
        ({"scope": None, "account-wide": True}, "exemption-too-wide"),
    ],
)
def test_flaw_refuses_and_names_its_entry(changes: dict[str, Any], code: str) -> None:
    verdict = review_ledger(ledger({"id": "CVE-2026-0001"}, changes), RULES)
    assert codes(verdict) == [code]
    assert "entry 2" in verdict.reasons[0].text


def test_wide_scopes_may_be_allowed_one_by_one() -> None:
    wide = ledger({"scope": "team"}, {"scope": None, "account-wide": True})
    kinds: tuple[tuple[str, ...], ...] = (("account", "namespace"), ("account",), ())
    assert [len(review_ledger(wide, ReviewRules(TODAY, wide=one)).reasons) for one in kinds] == [
        *(2, 1, 0)
    ]


@pytest.mark.parametrize(
    ("expires", "told"),
    [
        ("2026-05-01", "today"),
        ("2026-05-02", "tomorrow"),
        ("2026-05-15", "in 14 days"),
        ("2026-05-16", ""),
        ("2026-04-30", ""),
    ],
)
def test_end_that_is_near_is_told_with_whom_to_ask(expires: str, told: str) -> None:
    notes = [note.text for note in review_ledger(ledger({"expires": expires}), RULES).notes]
    assert bool(notes) is bool(told)
    assert all(told in text and "jane" in text for text in notes)


def test_unused_entries_are_told_unless_they_are_over() -> None:
    parts = ledger({}, {"id": "CVE-2026-0002"}, {"id": "CVE-2026-0003", "expires": "2026-01-01"})
    used = {("CVE-2026-1000", "us.icr.io/team/app:1"), ("CVE-2026-0002", "team/app")}
    notes = review_ledger(parts, RULES, used=used).notes
    assert [note.text.partition(" was")[0] for note in notes] == ["entry 2 (CVE-2026-0002)"]
    assert len(review_ledger(parts, RULES, used=()).notes) == 2


def test_entry_that_stands_twice_is_refused() -> None:
    packages = {"packages": ["a", "b"]}, {"packages": ["b", "a", "b"]}
    assert reviewed({}, {"expires": "2026-10-01"}, {"scope": "team/app"}) == ["exemption-invalid"]
    assert reviewed(*packages, {"packages": ["a"]}, {}) == ["exemption-invalid"]


# --- Beside the image -----------------------------------------------------------------------------

IMAGE = "  image: us.icr.io/team/app:2 # new"


def changed(
    before: Ledger, *after: dict[str, Any], lines: tuple[str, ...] = (IMAGE,), **rest: Any
) -> list[str]:
    return reviewed(*after, change=LedgerChange(before, (ChangedPlace(lines),), **rest))


def test_entry_that_was_there_may_stay_beside_a_new_image() -> None:
    assert changed(ledger({}), {}) == []
    assert changed(ledger({}), {"expires": "2026-08-01", "owner": "joe"}) == []


@pytest.mark.parametrize(
    "after",
    [
        {"expires": "2026-09-02"},
        {"scope": "us.icr.io/team/app:2"},
        {"scope": "us.icr.io/team/app"},
        {"scope": "team/app"},
        {"scope": f"us.icr.io/team/app@{DIGEST}"},
        {"scope": "private.us.icr.io/team/app:1"},
        {"id": "CVE-2026-1001"},
        {"packages": ["openssl"]},
    ],
)
def test_new_longer_or_wider_entry_is_refused_beside_its_image(after: dict[str, Any]) -> None:
    assert changed(ledger({}), after) == ["exemption-with-image"]


def test_entry_that_lost_its_limits_is_new() -> None:
    assert changed(ledger({"packages": ["openssl"]}), {}) == ["exemption-with-image"]
    assert changed(ledger({"owner": None}), {}) == ["exemption-with-image"]


@pytest.mark.parametrize(
    "line",
    [
        "image: de.icr.io/team/app:2",
        "image: us.icr.io/team/other:2",
        "image: github.com/team/app",  # code, and no image
        "see https://us.icr.io/team/app",
        "context: ../team/app",
        "path: /team/app",
        "image: us.icr.io/other/team/app:2",
        "image: team/app/more:2",
        "image: team/application:2",
        "image: $REGISTRY/team/app/more:2",
        "# see docs/team/app",
        "",
        "a/" * 5000,
    ],
)
def test_other_lines_are_no_images_that_it_frees(line: str) -> None:
    assert changed(Ledger(), {}, lines=(line,)) == []


@pytest.mark.parametrize(
    ("added", "is_refused"),
    [
        ('  newTag: "2"', True),
        ("- tag: 2", True),
        ("'digest': sha256:1", True),
        ("APP_VERSION=2", True),
        ("memory: 1Gi", False),
        ("  replicas: 2 # tag", False),
    ],
)
def test_tag_on_a_line_of_its_own_belongs_to_the_name_beside_it(
    added: str, is_refused: bool
) -> None:
    place = ChangedPlace((added,), ("- name: us.icr.io/team/app",))
    found = reviewed({}, change=LedgerChange(Ledger(), (place,)))
    assert found == ["exemption-with-image"] * is_refused


def test_whatever_images_are_built_from_counts_as_an_image() -> None:
    rest = {"lines": (), "sources": ("app/Dockerfile",)}
    assert changed(Ledger(), {}, **rest) == ["exemption-with-image"]
    assert changed(ledger({}), {}, **rest) == []


def test_many_lines_and_entries_are_looked_through_quickly() -> None:
    entries = [{"id": f"CVE-2026-{number}"} for number in range(2000, 3000)]
    lines = tuple(f'"resolved": "https://registry.example.com/a/b/{n % 50}"' for n in range(20_000))
    assert changed(Ledger(), *entries, lines=lines) == []


@pytest.mark.parametrize(
    "text",
    ["image: us.icr.io/team/app:1.1", "FROM us.icr.io/team/app:1.1 AS x", "us.icr.io/team/app:1.1,",
     '"us.icr.io/team/app:1.1"', "--image=us.icr.io/team/app:1.1.", "(us.icr.io/team/app:1.1)",
     "docker://us.icr.io/team/app:1.1"],
)  # fmt: skip
def test_image_is_found_in_any_line(text: str) -> None:
    assert [str(one) for one in images_in([text])] == ["us.icr.io/team/app"]


@pytest.mark.parametrize(
    "line",
    ["image: team/app:1.1", "repository: team/app", "IMG=$REG/team/app:1.1", "- ${REG:-x}/team/app",
     "image: {{ .Values.registry }}/team/app:1.1", "push $REG/$PREFIX/team/app:$TAG",
     "us.icr.io/team/app@sha256:12", "private.us.icr.io/team/app", "'team/app'"],
)  # fmt: skip
@pytest.mark.parametrize("scope", ["team/app", "us.icr.io/team/app:1", "us.icr.io/team", "team"])
def test_image_is_named_without_its_host_too(line: str, scope: str) -> None:
    change = LedgerChange(Ledger(), (ChangedPlace((line,)),))
    assert "exemption-with-image" in reviewed({"scope": scope}, change=change)


def test_chart_s_tag_belongs_to_the_repository_wherever_the_file_names_it() -> None:
    lines = ("registry: us.icr.io", "repository: team/app", *["# more"] * 900)
    change = LedgerChange(Ledger(), (ChangedPlace(('tag: "1.1"',), lines),))
    assert reviewed({}, change=change) == ["exemption-with-image"]
    assert reviewed({"scope": "us.icr.io/team/other"}, change=change) == []


@pytest.mark.parametrize("day", [TODAY + timedelta(1), date(2027, 1, 1)])
def test_entry_cannot_come_from_the_future(day: date) -> None:
    assert reviewed({"created": day.isoformat()}) == ["exemption-invalid"]
    assert reviewed({"created": TODAY.isoformat()}) == []


def test_nothing_beside_the_ledger_is_told() -> None:
    verdict = review_ledger(ledger({}), RULES, change=LedgerChange(Ledger(), is_alone=True))
    assert [note.code for note in verdict.notes] == ["nothing-beside"]
    assert verdict.passed


def test_whole_account_is_freed_by_what_surely_is_an_image() -> None:
    wide = {"scope": None, "account-wide": True}
    for line, is_refused in (("type: application/json", False), ("x: a.example/b", True)):
        change = LedgerChange(Ledger(), (ChangedPlace((line,)),))
        assert ("exemption-with-image" in reviewed(wide, change=change)) == is_refused


def test_longest_time_may_be_changed() -> None:
    short = ReviewRules(TODAY, longest=timedelta(days=30))
    assert codes(review_ledger(ledger({}), short)) == ["exemption-too-wide"]
