# SPDX-License-Identifier: Apache-2.0
"""What the advisor's short answers become: of many images at once, and of one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from imgsec.adapters.va import AdvisorSummaries
from imgsec.domain.image_list import RegistryImage, ScanSummary
from imgsec.domain.reference import ImageReference, RegistryScope
from imgsec.domain.vulnerability import ScanStatus
from tests.unit.adapters.test_icr import DIGEST, HUGE, FakeHttp, answer, api, without
from tests.unit.adapters.test_va import Tokens
from tests.unit.refusals import refused

NAME = "us.icr.io/team/app:1"
TEAM = RegistryScope.parse("us.icr.io/team")
IMAGE = RegistryImage(ImageReference.parse(f"{NAME}@{DIGEST}"))
UNTAGGED = RegistryImage(ImageReference.parse(f"us.icr.io/team/app@{DIGEST}"))


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "status": "FAIL",
        "scan_time": 1781081400,
        "issue_count": 2,
        "exempt_issue_count": 1,
        "vulnerability_count": 2,
        "exempt_vulnerability_count": 1,
        "configuration_issue_count": 0,
        "exempt_configuration_issue_count": 0,
        **changes,
    }


def advisor(http: FakeHttp, tokens: Tokens | None = None, **options: Any) -> AdvisorSummaries:
    return AdvisorSummaries(http, api(tokens, **options))  # type: ignore[arg-type]


def listed(images: Any) -> dict[str, ScanSummary]:
    http = FakeHttp(answer({"images": images}))
    return dict(advisor(http).list_summaries(TEAM, ibm=False))


def fetched(body: Any, status: int = 200) -> ScanSummary | None:
    return advisor(FakeHttp(answer(body, status))).fetch_summary("us.icr.io", IMAGE)


@pytest.mark.parametrize(
    ("scope", "ibm", "query"),
    [
        ("us.icr.io", False, "includeIBM=false"),
        ("us.icr.io/team", True, "includeIBM=true"),
        ("us.icr.io/team/app", False, "includeIBM=false&repository=us.icr.io%2Fteam%2Fapp"),
        ("private.us.icr.io/a/b", False, "includeIBM=false&repository=us.icr.io%2Fa%2Fb"),
    ],
)
def test_one_question_for_all_images(scope: str, ibm: bool, query: str) -> None:
    http, place = FakeHttp(answer({"images": []})), RegistryScope.parse(scope)
    advisor(http, account="mine").list_summaries(place, ibm=ibm)
    ((method, url, headers, _),) = http.asked
    base = f"https://{place.registry}/va/api/v4/report/account/status?"
    assert (method, url) == ("GET", base + query)
    assert (headers["Account"], headers["Authorization"]) == ("mine", "Bearer t0")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (IMAGE, "us.icr.io%2Fteam%2Fapp%3A1"),
        (UNTAGGED, f"us.icr.io%2Fteam%2Fapp%40sha256%3A{'4f' * 32}"),
    ],
)
def test_one_image_is_asked_about_by_its_tag_or_else_its_digest(
    image: RegistryImage, name: str
) -> None:
    http = FakeHttp(answer(summary()))
    advisor(http).fetch_summary("private.us.icr.io", image)
    assert http.asked[0][1] == f"https://private.us.icr.io/va/api/v4/report/image/status/{name}"


def test_summary_has_the_advisor_s_own_counts() -> None:
    expected = ScanSummary(ScanStatus.FAIL, 2, 1, datetime.fromtimestamp(1781081400, UTC))
    assert fetched(summary()) == expected
    assert listed([summary(name=NAME, created_time=1)]) == {NAME: expected}


@pytest.mark.parametrize("word", ["UNSCANNED", "INCOMPLETE", "UNSUPPORTED"])
def test_image_that_was_not_assessed_needs_no_counts(word: str) -> None:
    assert fetched({"status": word}) == ScanSummary(ScanStatus(word))


@pytest.mark.parametrize("word", ["QUARANTINED", "ok", "No Issues", "BLOCK", "__members__"])
def test_unknown_status_word_is_kept_as_it_is(word: str) -> None:
    found = fetched({"status": word})
    assert found is not None
    assert (found.status, isinstance(found.status, ScanStatus)) == (word, False)
    long = fetched({"status": "X" * 5000})
    assert long is not None
    assert long.status == "X" * 40


def test_no_record_is_none_and_a_page_is_no_answer() -> None:
    assert fetched({"code": "CRG0000E", "message": "x"}, 404) is None
    with refused("answer-malformed"):
        fetched(b"<html>not found", 404)


HALF: list[Any] = [
    {"status": "OK"},
    *(without(summary(status=word), "issue_count") for word in ("OK", "WARN", "FAIL")),
    without(summary(), "exempt_issue_count"),
    without(summary(), "status"),
    *(summary(status=value) for value in (None, 1, "", [], "\ud800")),
    *(summary(issue_count=value) for value in (None, "2", -1, True, 1.5, HUGE, [])),
    *(summary(exempt_issue_count=value) for value in (None, "2", -1, True, 1.5, HUGE, [])),
]


@pytest.mark.parametrize("body", [*HALF, b"", b"<html>", b"{", [], "x", None, 1, b"[" * 100_000])
def test_what_is_no_summary_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        fetched(body)


@pytest.mark.parametrize(
    "entry",
    [
        *({**body, "name": NAME} for body in HALF),
        summary(),
        *(summary(name=name) for name in (None, 1, "app:1", "us.icr.io/team/app:1\n", "\x1b[2K")),
        None,
        [],
        "x",
    ],
)
def test_entry_that_cannot_be_read_is_left_to_a_question_of_its_own(entry: Any) -> None:
    good = "us.icr.io/team/good:1"
    assert list(listed([entry, summary(name=good)])) == [good]


def test_two_answers_for_one_image_are_none() -> None:
    same = [summary(name=NAME), summary(name=NAME)]
    assert list(listed(same)) == [NAME]
    assert listed([*same, summary(name=f"private.{NAME}", status="OK", issue_count=0)]) == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", [], {}, {"images": "x"}, {"images": {}}, 1])
def test_what_is_no_list_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        advisor(FakeHttp(answer(body))).list_summaries(TEAM, ibm=False)


@pytest.mark.parametrize("images", [None, []])
def test_list_may_be_empty(images: Any) -> None:
    assert listed(images) == {}
    http = FakeHttp(answer({"code": "CRG0020E", "message": "x"}, 404))
    assert advisor(http).list_summaries(TEAM, ibm=False) == {}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "credential-rejected"),
        (403, "permission-denied"),
        (429, "rate-limited"),
        (500, "service-unreachable"),
        (400, "answer-malformed"),
    ],
)
def test_trouble_has_its_reason(status: int, code: str) -> None:
    http = FakeHttp(answer({"code": "CRG0009E", "message": "no"}, status))
    with refused(code) as reasons:
        advisor(http).list_summaries(TEAM, ibm=False)
    with refused(code):
        advisor(http).fetch_summary("us.icr.io", IMAGE)
    if status == 403:
        assert "role Reader for us.icr.io/team" in reasons[0].text


def test_ten_thousand_statuses_are_read() -> None:
    entries = [summary(name=f"us.icr.io/team/app{number}:1") for number in range(10_000)]
    assert len(listed(entries)) == 10_000


def test_foreign_registry_is_not_asked() -> None:
    http, tokens = FakeHttp(answer(b"")), Tokens()
    with refused("not-assessed"):
        advisor(http, tokens).list_summaries(RegistryScope("quay.io"), ibm=False)
    assert (http.asked, tokens.asked) == ([], 0)


def test_name_is_one_segment_of_the_path() -> None:
    """As IBM's client sends it."""
    http = FakeHttp(answer(json.dumps(summary()).encode()))
    advisor(http).fetch_summary("us.icr.io", IMAGE)
    assert "/" not in http.asked[0][1].partition("/status/")[2]
