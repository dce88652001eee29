# SPDX-License-Identifier: Apache-2.0
"""The ledger: an entry that lacks anything exempts nothing, and no two add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from imgsec.domain.exemption import (
    ACCOUNT,
    Exempter,
    Exemption,
    ExemptionScope,
    IssueType,
    Ledger,
    Ruling,
    narrowest_scope,
)
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    IssueKind,
    Notice,
    PolicyStatus,
    ScanSubject,
    merged_packages,
)

TODAY = date(2026, 5, 1)
DIGEST = Digest.of(b"manifest")
INDEX = Digest.of(b"index")
IMAGE = ImageReference.parse("us.icr.io/team/app:1").at(DIGEST)
SUBJECT = ScanSubject(IMAGE, index=INDEX, platform="linux/amd64")
FINDING = Finding(
    "CVE-2026-1000",
    packages=(
        AffectedPackage("openssl", "1", notices=("DSA-1-1", "DSA-2-1", "GHSA-aaaa-bbbb-cccc")),
        AffectedPackage("libssl3", "1", notices=("DSA-1-1", "DSA-2-1", "GHSA-aaaa-bbbb-cccc")),
    ),
    notices=(Notice("DSA-1-1"), Notice("DSA-2-1")),
    aliases=("GHSA-aaaa-bbbb-cccc",),
)
WHOLE = {
    "id": "CVE-2026-1000",
    "scope": "team/app",
    "owner": "jane@example.com",
    "reason": "not reachable",
    "expires": "2026-12-31",
}


HIDDEN = "\u200b\u200d\u2060\ufeff\u3164\u202e\xad\U000e0041\x1b"


def entry(**changes: Any) -> Exemption:
    document = {**WHOLE, **changes}
    return Exemption.parse({name: value for name, value in document.items() if value is not None})


def ruling(*entries: Exemption, finding: Finding = FINDING) -> Ruling:
    return Exempter(entries, SUBJECT, TODAY).ruling(finding)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in WHOLE),
        *({name: ""} for name in WHOLE),
        *({name: " "} for name in WHOLE),
        *({name: 7} for name in WHOLE),
        {"expires": "2026-99-99"},
        {"expires": "2026-02-30"},
        {"expires": "31.12.2026"},
        {"expires": "2026-12-31T00:00:00Z"},
        {"created": "yesterday"},
        {"created": None, "until": "2026-12-31"},
        {"id": "*"},
        {"id": "CVE-2026-*"},
        {"id": "CVE-26-1", "type": "cve"},
        {"type": "vulnerability"},
        {"type": ["cve"]},
        {"scope": "*"},
        {"scope": "team/*"},
        {"scope": "us.icr.io"},
        {"scope": "TEAM/app"},
        {"scope": "team/app:"},
        {"scope": "team:1"},
        {"scope": "team/app:1@" + str(DIGEST)},
        {"scope": "team/app@sha256:abc"},
        {"scope": "../app"},
        {"scope": "team//app"},
        {"account-wide": True},
        {"scope": None, "account-wide": False},
        {"scope": None, "account-wide": "yes"},
        {"packages": []},
        {"packages": "openssl"},
        {"packages": [""]},
        {"packages": [1]},
        {"packages": ["a b"]},
        {"reason": "x" * 2001},
        {"ticket": "ABC-1"},
        *({name: f"a{hidden}b"} for name in ("owner", "reason") for hidden in HIDDEN),
        {"owner": "\u3164"},
        {"packages": ["pkg:deb/debian/openssl@3"]},
        {"packages": ["pkg:deb/debian/openssl?arch=amd64"]},
        {"packages": ["pkg:DEB/debian/openssl"]},
        {"packages": ["pkg:npm/@a/b"]},
        {"packages": ["pkg:deb"]},
        {"packages": ["pkg:deb/debian/a\n"]},
    ],
)
def test_entry_that_is_not_whole_is_told_and_exempts_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        entry(**changes)
    document = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    ledger = Ledger.parse({"version": 1, "exemptions": [document, WHOLE]})
    assert (len(ledger.entries), ledger.numbers) == (1, (2,))
    assert ledger.problems[0].text.startswith("entry 1")


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"version": 1},
        {"version": 2, "exemptions": []},
        {"version": 1, "exemptions": {}},
        {"version": 1, "exemptions": [], "defaults": {}},
        {"version": 1, "exemptions": [WHOLE] * 10_001},
    ],
)
def test_what_is_no_ledger_is_refused_as_a_whole(document: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Ledger.parse(document)


def test_entry_is_written_as_it_was_read() -> None:
    full = entry(packages=["openssl", "libssl3"], created="2026-04-01", type="cve")
    assert Exemption.parse(full.document()) == full
    wide = entry(scope=None, **{"account-wide": True})
    assert Exemption.parse(wide.document()) == wide
    assert wide.scope == ACCOUNT


def test_type_is_seen_from_the_id_unless_it_is_said() -> None:
    assert entry().type is IssueType.CVE
    assert entry(id="DSA-5000-1").type is IssueType.NOTICE
    configured = entry(id="application_configuration:mysql.ssl", type="configuration")
    assert configured.type is IssueType.CONFIGURATION


def test_last_day_counts_and_the_next_does_not() -> None:
    assert ruling(entry(expires="2026-05-01")).status is PolicyStatus.EXEMPT
    assert ruling(entry(expires="2026-04-30")).status is PolicyStatus.ACTIVE


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        ("team", True),
        ("tea", False),
        ("team/app", True),
        ("team/app2", False),
        ("team/ap", False),
        ("team/app:1", True),
        ("team/app:10", False),
        (f"team/app@{DIGEST}", True),
        (f"team/app@{INDEX}", True),
        (f"team/app@{Digest.of(b'other')}", False),
        (f"team/other@{DIGEST}", False),
        ("us.icr.io/team", True),
        ("private.us.icr.io/team/app", True),
        ("de.icr.io/team/app", False),
        ("evil.us.icr.io/team/app", False),
        ("us.icr.io:443/team/app", False),
    ],
)
def test_scope_covers_what_it_names(scope: str, covers: bool) -> None:
    assert ExemptionScope.parse(scope).covers(SUBJECT) is covers
    assert str(ExemptionScope.parse(scope)) == scope


def test_repository_scope_does_not_reach_below_it() -> None:
    deeper = ScanSubject(ImageReference.parse("us.icr.io/team/app/part:1").at(DIGEST))
    assert not ExemptionScope.parse("team/app").covers(deeper)
    assert ExemptionScope.parse("team").covers(deeper)
    assert ACCOUNT.covers(deeper)


def test_narrowest_scope_is_the_digest() -> None:
    assert str(narrowest_scope(IMAGE)) == f"us.icr.io/team/app@{DIGEST}"
    tagged = ImageReference.parse("us.icr.io/team/app:1")
    assert str(narrowest_scope(tagged)) == "us.icr.io/team/app:1"


@pytest.mark.parametrize("issue", ["CVE-2026-1000", "GHSA-aaaa-bbbb-cccc"])
def test_entry_is_about_every_name_of_the_finding(issue: str) -> None:
    assert ruling(entry(id=issue)).status is PolicyStatus.EXEMPT
    assert ruling(entry(id="CVE-2026-10000")).status is PolicyStatus.ACTIVE


def test_packages_must_all_be_in_one_entry() -> None:
    one, other = entry(packages=["openssl"]), entry(packages=["libssl3"])
    assert ruling(one, other).status is PolicyStatus.ACTIVE
    both = entry(packages=["openssl", "libssl3", "more"])
    assert ruling(one, both).entries == (both,)
    nowhere = replace(FINDING, packages=())
    assert ruling(both, finding=nowhere).status is PolicyStatus.ACTIVE


def test_notices_are_exempt_one_by_one_as_in_the_advisor() -> None:
    first, second = entry(id="DSA-1-1"), entry(id="DSA-2-1")
    assert ruling(first) == Ruling(PolicyStatus.PARTIAL, (first,))
    assert ruling(first, second) == Ruling(PolicyStatus.EXEMPT, (first, second))


def test_notice_that_is_exempt_in_the_advisor_adds_to_the_ledger_s() -> None:
    mixed = replace(
        FINDING,
        status=PolicyStatus.PARTIAL,
        notices=(Notice("DSA-1-1", exempt=True), Notice("DSA-2-1")),
    )
    second = entry(id="DSA-2-1")
    assert ruling(second, finding=mixed).status is PolicyStatus.EXEMPT


def test_notice_entry_limited_to_a_package_covers_no_other() -> None:
    first = entry(id="DSA-1-1", packages=["openssl"])
    assert ruling(first).status is PolicyStatus.ACTIVE


def test_notice_frees_no_package_that_it_is_not_about() -> None:
    """The distribution's notice says nothing of the copy that a language's package brought."""
    brought = AffectedPackage("cryptography", "1")
    mixed = replace(FINDING, notices=(Notice("DSA-1-1"),), packages=(*FINDING.packages, brought))
    assert ruling(entry(id="DSA-1-1"), finding=mixed).status is PolicyStatus.PARTIAL


DEBIAN = "pkg:deb/debian/openssl"


@pytest.mark.parametrize(
    ("urls", "packages", "is_exempt"),
    [
        ([f"{DEBIAN}@1?arch=amd64"], [DEBIAN], True),
        ([f"{DEBIAN}@1?arch=amd64"], ["openssl"], True),
        (["pkg:pypi/openssl@1"], [DEBIAN], False),
        (["pkg:pypi/openssl@1"], ["openssl"], True),
        ([""], [DEBIAN], False),
        (["no url"], [DEBIAN], False),
        ([f"{DEBIAN}@1", "pkg:pypi/openssl@2"], [DEBIAN], False),
        ([f"{DEBIAN}@1", "pkg:pypi/openssl@2"], [DEBIAN, "pkg:pypi/openssl"], True),
    ],
)
def test_package_url_holds_for_its_kind_alone(
    urls: list[str], packages: list[str], is_exempt: bool
) -> None:
    parts = tuple(AffectedPackage("openssl", str(n), url=url) for n, url in enumerate(urls))
    found = replace(FINDING, notices=(), packages=parts)
    status = PolicyStatus.EXEMPT if is_exempt else PolicyStatus.ACTIVE
    assert ruling(entry(packages=packages), finding=found).status is status


def test_row_of_two_kinds_is_of_no_kind() -> None:
    same, other = (
        AffectedPackage("a", "1", url=f"pkg:deb/debian/a@1?arch={arch}") for arch in "xy"
    )
    foreign = AffectedPackage("a", "1", url="pkg:pypi/a@1")
    unsaid = AffectedPackage("a", "1", fixed="2")
    for parts, expected in (
        ((same, other), "pkg:deb/debian/a"),
        ((same, unsaid), same.url),
        ((same, foreign), ""),
        ((unsaid,), ""),
    ):
        (found,) = merged_packages(parts)
        assert found.url == expected


def test_configuration_issue_needs_an_entry_that_says_so() -> None:
    issue = Finding("application_configuration:mysql.ssl", kind=IssueKind.CONFIGURATION)
    with pytest.raises(ValueError, match="say its type"):
        entry(id=issue.id)
    assert ruling(entry(id=issue.id, type="sn"), finding=issue).status is PolicyStatus.ACTIVE
    said = entry(id=issue.id, type="configuration")
    assert ruling(said, finding=issue).status is PolicyStatus.EXEMPT
    vulnerability = replace(issue, kind=IssueKind.VULNERABILITY)
    assert ruling(said, finding=vulnerability).status is PolicyStatus.ACTIVE


def test_what_is_exempt_at_the_source_is_nobody_s_entry() -> None:
    exempt = replace(FINDING, status=PolicyStatus.EXEMPT)
    assert ruling(finding=exempt) == Ruling(PolicyStatus.EXEMPT)
