# SPDX-License-Identifier: Apache-2.0
"""What the advisor's answers become, and which images it is never asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgsec.adapters._account import AccountApi
from imgsec.adapters._http import Answer
from imgsec.adapters.va import VulnerabilityAdvisor
from imgsec.domain.reference import ImageReference
from imgsec.domain.vulnerability import PolicyStatus, ScanReport, ScanStatus, ScanSubject
from tests.unit.refusals import refused

DIGEST = "sha256:" + "1a" * 32
IMAGE = ImageReference.parse(f"us.icr.io/team/app:1@{DIGEST}")
SUBJECT = ScanSubject(IMAGE)


@dataclass
class FakeHttp:
    """Answers always the same, after some refusals of the token."""

    answer: Answer
    refusals: int = 0
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> Answer:
        assert max_bytes > 8 * 2**20, "thousands of findings with their texts have room"
        self.asked.append((url, headers))
        if len(self.asked) <= self.refusals:
            return Answer(401, {}, b"{}", url)
        return self.answer


class Tokens:
    asked = 0
    forgotten = 0

    def authorization(self, _: str) -> dict[str, str]:
        self.asked += 1
        return {"Authorization": f"Bearer t{self.forgotten}"}

    def forget(self) -> bool:
        self.forgotten += 1
        return self.forgotten == 1

    def account(self) -> str:
        return "of-the-token"

    def again(self) -> Tokens:
        return self


def fetch(body: Any, status: int = 200) -> ScanReport:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    http = FakeHttp(Answer(status, {"content-type": "application/json"}, content, "https://va"))
    (found,) = VulnerabilityAdvisor(http, AccountApi(Tokens().again)).fetch_reports(SUBJECT)  # type: ignore[arg-type]
    return found


def report(**changes: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "status": "FAIL",
        "scan_time": 1767225600,
        "os_distribution": {"distribution_id": "debian", "version_id": "12"},
        "vulnerabilities": [vulnerability()],
        "configuration_issues": [],
        **changes,
    }


def vulnerability(**changes: Any) -> dict[str, Any]:
    package = {
        "package_name": "openssl",
        "installed_version": "1",
        "fix_version": "2",
        "corrective_action": "Upgrade openssl",
        "description": "old",
    }
    return {
        "cve_id": "CVE-2026-1",
        "summary": "bad",
        "cve_exempt": False,
        "exempt_status": "active",
        "security_notices": [
            {"notice_id": "DSA-1", "notice_exempt": False, "vulnerable_packages": [package]}
        ],
        **changes,
    }


def test_report_is_asked_for_by_digest_at_the_image_s_own_host() -> None:
    http = FakeHttp(Answer(200, {}, json.dumps(report()).encode(), "https://va"))
    VulnerabilityAdvisor(http, AccountApi(Tokens().again, account="mine")).fetch_reports(SUBJECT)  # type: ignore[arg-type]
    ((url, headers),) = http.asked
    name = f"us.icr.io%2Fteam%2Fapp%40sha256%3A{'1a' * 32}"
    assert url == f"https://us.icr.io/va/api/v4/report/image/{name}"
    assert (headers["Account"], headers["Authorization"]) == ("mine", "Bearer t0")


def test_report_of_a_tag_is_asked_for_by_the_tag() -> None:
    http = FakeHttp(Answer(200, {}, json.dumps(report()).encode(), "https://va"))
    advisor = VulnerabilityAdvisor(http, AccountApi(Tokens().again))  # type: ignore[arg-type]
    assert advisor.fetch_tag_report(IMAGE).status is ScanStatus.FAIL
    ((url, _),) = http.asked
    assert url.endswith("/va/api/v4/report/image/us.icr.io%2Fteam%2Fapp%3A1")


def test_findings_come_with_their_fixes() -> None:
    found = fetch(report())
    assert (found.status, str(found.distribution)) == (ScanStatus.FAIL, "debian 12")
    (finding,) = found.findings
    assert (finding.id, finding.status) == ("CVE-2026-1", PolicyStatus.ACTIVE)
    assert [notice.id for notice in finding.notices] == ["DSA-1"]
    assert finding.packages[0].action == "Upgrade openssl"


@pytest.mark.parametrize(
    ("word", "exempt"), [("active", False), ("partial", False), ("exempt", True)]
)
def test_only_wholly_exempt_findings_are_exempt(word: str, exempt: bool) -> None:
    found = fetch(report(vulnerabilities=[vulnerability(exempt_status=word, cve_exempt=True)]))
    assert [finding.status.is_exempt for finding in found.findings] == [exempt]


@pytest.mark.parametrize("word", ["QUARANTINED", "ok", "", "BLOCK", "__members__", "name"])
def test_unknown_status_word_is_kept_as_it_is(word: str) -> None:
    found = fetch(report(status=word))
    assert found.status == word
    assert not isinstance(found.status, ScanStatus)


def test_image_that_is_not_known_yet_is_unscanned() -> None:
    assert fetch({"code": "BXNVA0009E", "message": "x"}, 404).status is ScanStatus.UNSCANNED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{",
        [],
        {},
        report(status=None),
        report(status=1),
        {"status": "OK"},
        *({**report(), name: None} for name in report()),
        *({key: value for key, value in report().items() if key != name} for name in report()),
        report(vulnerabilities=False),
        report(configuration_issues=False),
        report(vulnerabilities="x"),
        report(vulnerabilities={"a": 1}),
        report(vulnerabilities=[None]),
        report(vulnerabilities=[{}]),
        report(vulnerabilities=[vulnerability(cve_id=None)]),
        report(vulnerabilities=[vulnerability(exempt_status="new")]),
        report(vulnerabilities=[vulnerability(exempt_status=True)]),
        report(vulnerabilities=[vulnerability(security_notices="x")]),
        report(vulnerabilities=[vulnerability(security_notices=[{}])]),
        report(vulnerabilities=[vulnerability(summary=["x"])]),
        report(os_distribution="debian"),
        report(os_distribution={"distribution_id": 12}),
        report(scan_time="yesterday"),
        report(scan_time=1e30),
        report(status="\ud800"),
        report(vulnerabilities=[vulnerability(summary="\udfff")]),
    ],
)
def test_what_is_no_report_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        fetch(body)


def test_page_that_says_not_found_is_no_unscanned_image() -> None:
    with refused("answer-malformed"):
        fetch(b"<html>not found", 404)


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
    bodies: list[Any] = [{"code": "CRG0009E", "message": "a\nb"}, b"<html>", [], {"code": 1}]
    for body in bodies:
        with refused(code) as reasons:
            fetch(body, status)
        assert reasons[0].text.isprintable()


def test_permission_that_is_missing_is_named() -> None:
    with refused("permission-denied") as reasons:
        fetch({}, 403)
    assert "role Reader for us.icr.io/team/app" in reasons[0].text


@pytest.mark.parametrize("host", ["docker.io", "xicr.io", "icr.io.evil.example", "quay.io"])
def test_foreign_image_is_not_assessed_and_nobody_is_asked(host: str) -> None:
    http, tokens = FakeHttp(Answer(200, {}, b"{}", "https://va")), Tokens()
    image = ImageReference.parse(f"{host}/team/app@{DIGEST}")
    with refused("not-assessed"):
        VulnerabilityAdvisor(http, AccountApi(tokens.again)).fetch_reports(ScanSubject(image))  # type: ignore[arg-type]
    assert http.asked == []
    assert tokens.asked == 0


def test_exemption_that_its_own_details_deny_does_not_count() -> None:
    """The CVE is not exempt and a notice is in force, whatever the word above them says."""
    for notices, exempt in (([False], False), ([True, False], False), ([True], True), ([], False)):
        listed = [{"notice_id": "n", "notice_exempt": one} for one in notices]
        finding = vulnerability(exempt_status="exempt", security_notices=listed)
        (found,) = fetch(report(vulnerabilities=[finding])).findings
        assert found.status.is_exempt is exempt


def test_configuration_issue_is_a_finding() -> None:
    issue = {"type": "application_configuration:mysql.ssl", "exempt": False, "description": "d",
             "corrective_action": "Switch it on"}  # fmt: skip
    found = fetch(report(vulnerabilities=[], configuration_issues=[issue]))
    assert [finding.id for finding in found.in_force] == ["application_configuration:mysql.ssl"]


def test_unknown_word_is_kept_short() -> None:
    assert fetch({"status": "X" * 5000}).status == "X" * 40


@pytest.mark.parametrize(("refusals", "is_enough"), [(1, True), (2, False)])
def test_token_that_is_refused_is_replaced_once(refusals: int, is_enough: bool) -> None:
    body = json.dumps(report()).encode()
    http = FakeHttp(Answer(200, {"content-type": "application/json"}, body, "https://va"), refusals)
    advisor = VulnerabilityAdvisor(http, AccountApi(Tokens().again))  # type: ignore[arg-type]
    with nullcontext() if is_enough else refused("credential-rejected"):
        assert advisor.fetch_reports(SUBJECT)[0].status is ScanStatus.FAIL
    assert [sent["Authorization"] for _, sent in http.asked] == ["Bearer t0", "Bearer t1"]
