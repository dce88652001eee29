# SPDX-License-Identifier: Apache-2.0
"""What is asked of the advisor about exemptions, and what its answers become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgsec.adapters._account import AccountApi
from imgsec.adapters._http import Answer
from imgsec.adapters.va_exemptions import AdvisorExemptions
from imgsec.domain.exemption import KeptExemption
from tests.unit.adapters.test_va import Tokens
from tests.unit.refusals import refused

HOST = "us.icr.io"
DIGEST = "sha256:" + "1a" * 32


@dataclass
class FakeHttp:
    """Answers always the same, after some refusals of the token."""

    answer: Answer
    refusals: int = 0
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], repeats: bool
    ) -> Answer:
        assert repeats
        self.asked.append((method, url, headers))
        if len(self.asked) <= self.refusals:
            return Answer(401, {}, b"{}", url)
        return self.answer


def advisor(
    body: Any, status: int = 200, refusals: int = 0, **rest: Any
) -> tuple[AdvisorExemptions, FakeHttp]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    http = FakeHttp(Answer(status, {"content-type": "application/json"}, content, "u"), refusals)
    return AdvisorExemptions(http, AccountApi(Tokens().again, **rest)), http  # type: ignore[arg-type]


def item(kind: str = "image", issue: Any = "CVE-2026-1", **scope: Any) -> dict[str, Any]:
    parts = {"namespace": "team", "repository": "app", "tag": "1", **scope}
    return {
        "account_id": "a",
        "issue_id": issue,
        "issue_type": "cve",
        "scope": {"scope_type": kind, **parts},
    }


def listed(*items: Any) -> list[str]:
    return [one.scope for one in advisor(list(items))[0].list_exemptions(HOST)]


def test_scopes_of_all_kinds_are_written_without_a_host() -> None:
    assert listed(
        item("account"), item("namespace"), item("repository"), item(),
        item(tag=DIGEST), item(tag="1", digest=DIGEST), item(repository="a/b"),
    ) == [
        "*", "team", "team/app", "team/app:1",
        f"team/app@{DIGEST}", f"team/app@{DIGEST}", "team/a/b:1",
    ]  # fmt: skip


def test_ten_thousand_are_read() -> None:
    many = [item(issue=f"CVE-2026-{number}") for number in range(10_000)]
    assert len(listed(*many)) == 10_000


def test_word_for_an_issue_that_nobody_knows_is_kept() -> None:
    (found,) = advisor([{**item(), "issue_type": "weather"}])[0].list_exemptions(HOST)
    assert str(found) == "weather CVE-2026-1 for team/app:1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[",
        None,
        {},
        {"exemptions": []},
        "x",
        [None],
        [[]],
        ["x"],
        [{}],
        [{**item(), "scope": None}],
        [{**item(), "scope": "team"}],
        [{**item(), "scope": []}],
        [{**item(), "issue_id": ""}],
        [{**item(), "issue_id": 7}],
        [{**item(), "issue_id": ".."}],
        [{**item(), "issue_type": None}],
        [{**item(), "issue_type": "."}],
        [{**item(), "issue_id": "\ud800"}],
        [item("planet")],
        [item(["image"])],  # type: ignore[arg-type]
        [item(namespace="")],
        [item(namespace="..")],
        [item(namespace="a b")],
        [item(repository=None)],
        [item(repository="../..")],
        [item(tag="")],
        [item(tag=7)],
        [item(tag="a/b")],
        [item(tag="sha256:zz")],
        [item(digest="sha256:zz")],
        [item(), item("planet")],
    ],
    ids=lambda body: repr(body)[:60],
)
def test_what_is_no_list_of_exemptions_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        advisor(body)[0].list_exemptions(HOST)


@pytest.mark.parametrize(
    "body",
    [
        {},
        ["x"],
        [{}],
        [{"identifier": ""}],
        [{"identifier": 1}],
        [{"identifier": "a", "display_name": 1}],
    ],
)
def test_what_is_no_list_of_types_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        advisor(body)[0].list_types(HOST)


def test_types_are_words_and_what_people_call_them() -> None:
    found, http = advisor([{"identifier": "cve", "display_name": "CVE"}, {"identifier": "x"}])
    assert found.list_types(HOST) == (("cve", "CVE"), ("x", ""))
    assert http.asked[0][:2] == ("GET", "https://us.icr.io/va/api/v4/exempt/types")


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("*", "exempt/image/issue/cve/CVE-2026-1"),
        ("team", "exempt/image/team/issue/cve/CVE-2026-1"),
        ("team/app:1", "exempt/image/team%2Fapp%3A1/issue/cve/CVE-2026-1"),
        (
            f"team/app@{DIGEST}",
            f"exempt/image/team%2Fapp%40sha256%3A{'1a' * 32}/issue/cve/CVE-2026-1",
        ),
    ],
)
def test_exemption_is_its_address(scope: str, path: str) -> None:
    found, http = advisor({}, 201, account="mine")
    one = KeptExemption("cve", "CVE-2026-1", scope)
    found.add_exemption(HOST, one)
    found.remove_exemption(HOST, one)
    assert [asked[:2] for asked in http.asked] == [
        ("POST", f"https://us.icr.io/va/api/v4/{path}"),
        ("DELETE", f"https://us.icr.io/va/api/v4/{path}"),
    ]
    assert {asked[2]["Account"] for asked in http.asked} == {"mine"}


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [b"<html>Log in", b"{", b"ok"])
def test_page_in_front_of_the_service_is_no_yes(status: int, body: bytes) -> None:
    one = KeptExemption("cve", "CVE-2026-1", "team")
    found, _ = advisor(body, status)
    with refused("answer-malformed"):
        found.add_exemption(HOST, one)
    with refused("answer-malformed"):
        found.remove_exemption(HOST, one)


def test_answer_without_a_body_is_a_yes() -> None:
    one = KeptExemption("cve", "CVE-2026-1", "team")
    found, _ = advisor(b"", 204)
    found.add_exemption(HOST, one)
    found.remove_exemption(HOST, one)


def test_issue_cannot_be_another_address() -> None:
    found, http = advisor({}, 201)
    found.add_exemption(HOST, KeptExemption("configuration", "a/b:c?d", "team"))
    assert http.asked[0][1].endswith("/exempt/image/team/issue/configuration/a%2Fb%3Ac%3Fd")


def test_gone_already_is_gone_and_nowhere_else() -> None:
    one = KeptExemption("cve", "CVE-2026-1", "team")
    body = {"code": "CRG0000E", "message": "No\nsuch"}
    advisor(body, 404)[0].remove_exemption(HOST, one)
    for work in ("add_exemption", "list_exemptions"):
        found = advisor(body, 404)[0]
        with refused("request-refused"):
            found.add_exemption(HOST, one) if work[0] == "a" else found.list_exemptions(HOST)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "request-refused"),
        (401, "credential-rejected"),
        (403, "permission-denied"),
        (429, "rate-limited"),
        (500, "service-unreachable"),
        (302, "redirect-refused"),
    ],
)
def test_trouble_has_its_reason(status: int, code: str) -> None:
    for body in ({"code": "a", "message": "b\nc"}, b"<html>", [], {"code": 1}):
        with refused(code) as reasons:
            advisor(body, status)[0].list_exemptions(HOST)
        assert reasons[0].text.isprintable()


def test_role_that_is_missing_is_named() -> None:
    one = KeptExemption("cve", "CVE-2026-1", "team")
    with refused("permission-denied") as reasons:
        advisor({}, 403)[0].add_exemption(HOST, one)
    assert "role Manager" in reasons[0].text
    with refused("permission-denied") as reasons:
        advisor({}, 403)[0].list_exemptions(HOST)
    assert "role Reader" in reasons[0].text


@pytest.mark.parametrize("host", ["docker.io", "xicr.io", "icr.io.evil.example"])
def test_foreign_registry_is_never_asked(host: str) -> None:
    found, http = advisor([])
    with refused("not-assessed"):
        found.list_exemptions(host)
    assert http.asked == []
    trusting, http = advisor([], trusted=(host,))
    assert trusting.list_exemptions(host) == ()


@pytest.mark.parametrize(("refusals", "is_enough"), [(1, True), (2, False)])
def test_token_that_is_refused_is_replaced_once(refusals: int, is_enough: bool) -> None:
    found, http = advisor([], refusals=refusals)
    with nullcontext() if is_enough else refused("credential-rejected"):
        found.list_exemptions(HOST)
    assert [asked[2]["Authorization"] for asked in http.asked] == ["Bearer t0", "Bearer t1"]
