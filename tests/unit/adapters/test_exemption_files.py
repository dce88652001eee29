# SPDX-License-Identifier: Apache-2.0
"""Exemptions of other tools: neither way does an entry exempt more than its text says."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imgsec.adapters.exemption_files.formats import FORMATS
from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType, subject_named
from imgsec.domain.exemption_exchange import Defaults, Export, Imported
from imgsec.domain.reference import Digest, ImageReference
from imgsec.errors import ImgsecError

DIGEST = Digest.of(b"manifest")
IMAGE = ImageReference.parse("us.icr.io/team/app").at(DIGEST)
END = date(2026, 12, 31)
DEFAULTS = Defaults(
    owner="jane",
    scope=ExemptionScope.parse("team/app"),
    expires=END,
    reason="given",
    today=date(2026, 5, 1),
    author="us",
)


def read(name: str, document: Any, **changes: Any) -> Imported:
    return FORMATS[name].read(document, replace(DEFAULTS, **changes))


def entry(issue: str = "CVE-2026-1000", **changes: Any) -> Exemption:
    scope = ExemptionScope.parse(f"us.icr.io/team/app@{DIGEST}")
    kind = changes.pop("type", None) or IssueType.of(issue)
    made = Exemption(issue, kind, scope, "jane", "not reachable", END)
    return replace(made, **changes)


def written(name: str, *entries: Exemption) -> tuple[Any, tuple[Exemption, ...], tuple[str, ...]]:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    done = FORMATS[name].write(Export(entries, subject_named(IMAGE), now, "us"))
    return yaml.load(done.text, yaml.BaseLoader), done.entries, done.skipped


# --- Trivy ----------------------------------------------------------------------------------------


def trivy(**item: Any) -> Imported:
    return read("trivyignore", {"vulnerabilities": [{"id": "CVE-2026-1000", **item}]})


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("2026-06-30", "2026-06-29"),
        ("2026-06-30T23:59:59Z", "2026-06-29"),
        ("2026-06-30T00:00:00+14:00", "2026-06-28"),
        ("2026-06-30T23:00:00-05:00", "2026-06-30"),
        (None, "2026-12-31"),
    ],
)
def test_trivy_entry_ends_with_its_last_whole_day_in_utc(text: str | None, last: str) -> None:
    (found,) = trivy(expired_at=text).entries
    assert found.expires.isoformat() == last


@pytest.mark.parametrize(
    "item",
    [
        {"paths": ["usr/lib/x"]},
        {"purls": ["pkg:deb/debian/openssl@3.0.11"]},
        {"purls": ["pkg:deb/debian/openssl?arch=amd64"]},
        {"purls": ["pkg:deb/debian/openssl#sub"]},
        {"purls": ["openssl"]},
        {"purls": [7]},
        {"purls": "pkg:deb/debian/openssl"},
        {"purls": {"a": 1}},
        {"expired_at": "soon"},
        {"expired_at": "0001-01-01"},
        {"id": "*"},
        {"id": None},
        {"id": ["CVE-2026-1000"]},
        {"unknown": "x"},
        {"statement": "a\u202eb"},
    ],
)
def test_trivy_entry_that_the_ledger_cannot_say_is_told(item: dict[str, Any]) -> None:
    found = trivy(**item)
    assert (found.entries, len(found.skipped)) == ((), 1)


def test_trivy_packages_keep_their_kind() -> None:
    purls = ["pkg:deb/debian/openssl", "pkg:npm/@a/b", "pkg:PyPI/Foo_Bar"]
    (found,) = trivy(purls=purls, statement="why").entries
    kept = ("pkg:deb/debian/openssl", "pkg:npm/%40a/b", "pkg:pypi/foo-bar")
    assert (found.packages, found.reason) == (kept, "why")
    document, _, _ = written("trivyignore", found)
    assert read("trivyignore", document).entries[0].packages == kept


@pytest.mark.parametrize(
    "issue", ["DSA-5514-1", "RHSA-2026:1", "USN-1-1", "ALAS2-2026-1", "ELSA-1"]
)
def test_notice_of_a_distribution_is_not_taken_over(issue: str) -> None:
    """Elsewhere it is the one finding of that name, and here all that the notice is about."""
    assert len(trivy(id=issue).skipped) == 1
    assert len(grype(vulnerability=issue).skipped) == 1
    assert len(read("openvex", vex(statement(vulnerability={"name": issue}))).skipped) == 1


@pytest.mark.parametrize("issue", ["GHSA-aaaa-bbbb-cccc", "PYSEC-2026-1", "GO-2026-1"])
def test_advisory_about_one_vulnerability_is_taken_over(issue: str) -> None:
    assert [one.issue for one in trivy(id=issue).entries] == [issue]
    assert [one.issue for one in grype(vulnerability=issue).entries] == [issue]


@pytest.mark.parametrize("form", ["trivyignore", "grype", "openvex"])
def test_notice_that_is_called_as_a_cve_is_not_written(form: str) -> None:
    _, kept, skipped = written(form, replace(entry(), type=IssueType.NOTICE))
    assert (kept, len(skipped)) == ((), 1)


def test_trivy_secrets_and_licences_are_told() -> None:
    found = read("trivyignore", {"secrets": [{"id": "aws"}], "licenses": ["MIT"]})
    assert (found.entries, len(found.skipped)) == ((), 2)


def test_trivy_misconfiguration_is_a_configuration_issue() -> None:
    found = read("trivyignore", {"misconfigurations": [{"id": "AVD-DS-0001"}]})
    assert [one.type for one in found.entries] == [IssueType.CONFIGURATION]


def test_trivy_file_ends_when_the_entry_does() -> None:
    document, kept, _ = written("trivyignore", entry(), entry(expires=date.max))
    ends = [one["expired_at"] for one in document["vulnerabilities"]]
    assert ends == ["2027-01-01", "9999-12-31"]
    assert len(kept) == 2


def test_trivy_file_has_no_packages_and_no_notices() -> None:
    parts = (entry(packages=("openssl",)), entry("DSA-1-1"), entry("GHSA-aaaa-bbbb-cccc"))
    _, kept, skipped = written("trivyignore", *parts)
    assert ([one.issue for one in kept], len(skipped)) == (["GHSA-aaaa-bbbb-cccc"], 2)


# --- Grype ----------------------------------------------------------------------------------------


def grype(**rule: Any) -> Imported:
    return read("grype", {"ignore": [{"vulnerability": "CVE-2026-1000", **rule}]})


@pytest.mark.parametrize(
    "rule",
    [
        {"vulnerability": ""},
        {"fix-state": "wont-fix"},
        {"namespace": "debian:distro:debian:12"},
        {"vex-status": "not_affected"},
        {"vex-justification": "x"},
        {"match-type": "exact-direct-match"},
        {"include-aliases": True},
        {"package": {"name": "a", "version": "1"}},
        {"package": {"type": "deb"}},
        {"package": {"location": "/x/**"}},
        {"package": {"upstream-name": "a"}},
        {"package": {"language": "go"}},
        {"package": {"name": "linux-.*"}},
        {"package": {"name": "libstdc++6"}},
        {"package": {"name": "a|b"}},
        {"package": {"name": "^a$"}},
        {"package": {"name": r"a\w"}},
        {"package": {"name": 7}},
        {"package": "a"},
    ],
)
def test_grype_rule_that_the_ledger_cannot_say_is_told(rule: dict[str, Any]) -> None:
    found = grype(**rule)
    assert (found.entries, len(found.skipped)) == ((), 1)


def test_grype_rule_without_what_the_ledger_needs_is_told() -> None:
    rule = {"ignore": [{"vulnerability": "CVE-2026-1000"}]}
    assert read("grype", rule, expires=None).entries == ()
    assert read("grype", rule, reason=None).entries == ()


def test_grype_takes_the_name_of_a_package_for_a_pattern() -> None:
    names = ("libstdc++6", "python3.11", "a")
    document, _, _ = written("grype", entry(packages=names))
    found = [rule["package"]["name"] for rule in document["ignore"]]
    assert found == [r"libstdc\+\+6", r"python3\.11", "a"]
    again = read("grype", document).entries
    assert [one.packages for one in again] == [(name,) for name in names]


def test_grype_rules_do_not_add_up_to_what_no_entry_covers() -> None:
    wide, narrow, other = (entry(packages=names) for names in (("a", "b"), ("a",), ("c",)))
    _, kept, skipped = written("grype", narrow, other, wide)
    assert (kept, len(skipped)) == ((narrow, wide), 1)
    _, kept, _ = written("grype", narrow, entry(), other)
    assert len(kept) == 3
    kinds = [entry(packages=(f"pkg:deb/debian/{name}",)) for name in ("a", "b")]
    assert [len(written(form, *kinds)[1]) for form in ("trivyignore", "openvex", "grype")] == [
        1,
        1,
        0,
    ]


# --- OpenVEX --------------------------------------------------------------------------------------

PURL = f"pkg:oci/app@{str(DIGEST).replace(':', '%3A')}?repository_url=us.icr.io%2Fteam%2Fapp"


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": "CVE-2026-1000"},
        "products": [{"@id": PURL}],
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
        **changes,
    }


def vex(*statements: Any, **changes: Any) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.com/vex-1",
        "author": "us",
        "timestamp": "2026-04-01T00:00:00Z",
        "version": 1,
        "statements": list(statements),
        **changes,
    }


def test_vex_statement_holds_for_the_image_that_it_names() -> None:
    (found,) = read("openvex", vex(statement())).entries
    assert (str(found.scope), found.issue) == (f"us.icr.io/team/app@{DIGEST}", "CVE-2026-1000")
    assert found.reason == "vulnerable_code_not_in_execute_path"


@pytest.mark.parametrize(
    "changes",
    [
        {"author": "them"},
        {"author": None},
        {"author": ["us"]},
        {"@context": "https://openvex.dev/ns"},  # 0.0.1, which narrows elsewhere
        {"@context": "https://openvex.dev/ns/v0.3.0"},
        {"@context": "https://openvex.dev/nsx/v0.2.0"},
        {"@context": ["https://openvex.dev/ns/v0.2.0"]},
        {"statements": None},
        {"statements": {}},
    ],
)
def test_vex_of_somebody_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read("openvex", vex(statement(), **changes))


@pytest.mark.parametrize("author", [None, ""])
def test_vex_without_an_expected_author_is_refused(author: str | None) -> None:
    with pytest.raises(ValueError, match="vex-author"):
        read("openvex", vex(statement(), author=author), author=author)


@pytest.mark.parametrize(
    "changes",
    [
        *({"status": word} for word in ("affected", "fixed", "under_investigation", None, [1])),
        {"products": []},
        {"products": None},
        {"products": ["pkg:oci/app"]},
        {"products": "x"},
        {"products": [{"@id": PURL.partition("?")[0]}]},
        {"products": [{"@id": PURL.replace("us.icr.io%2F", "")}]},
        {"products": [{"@id": PURL.replace("oci/app", "oci/other")}]},
        {"products": [{"@id": PURL + "&arch=arm64"}]},
        {"products": [{"@id": PURL + "&repository_url=us.icr.io/team/b"}]},
        {"products": [{"@id": PURL.replace("%3A", "%3B")}]},
        {"products": [{"@id": "pkg:deb/debian/openssl@3"}]},
        {"products": [{"@id": None}]},
        {"products": [{"@id": PURL}, {"@id": "x"}]},
        {"products": [{"@id": PURL, "subcomponents": [{"@id": "pkg:deb/debian/openssl@3"}]}]},
        {"products": [{"@id": PURL, "subcomponents": [{"identifiers": {"purl": "x"}}]}]},
        {"products": [{"@id": PURL, "subcomponents": ["pkg:deb/debian/openssl"]}]},
        {"products": [{"@id": PURL, "subcomponents": {"@id": "pkg:deb/debian/openssl"}}]},
        {"subcomponents": ["pkg:deb/debian/openssl"]},
        {"vulnerability": {}},
        {"vulnerability": {"name": ["CVE-2026-1000"]}},
    ],
)
def test_vex_statement_that_the_ledger_cannot_say_is_told(changes: dict[str, Any]) -> None:
    found = read("openvex", vex(statement(**changes)))
    assert (found.entries, len(found.skipped)) == ((), 1)


def test_vex_denial_holds_for_either_host_of_a_registry() -> None:
    twin = PURL.replace("us.icr.io", "private.us.icr.io")
    denied = statement(products=[{"@id": twin}], status="affected")
    assert read("openvex", vex(statement(), denied)).entries == ()


def test_vex_parts_of_a_product_are_its_packages() -> None:
    parts = [{"@id": "pkg:deb/debian/openssl"}, {"@id": "pkg:deb/debian/libssl3"}]
    (found,) = read(
        "openvex", vex(statement(products=[{"@id": PURL, "subcomponents": parts}]))
    ).entries
    assert found.packages == ("pkg:deb/debian/openssl", "pkg:deb/debian/libssl3")
    document, _, _ = written("openvex", found)
    assert read("openvex", document).entries[0].packages == found.packages


@pytest.mark.parametrize(
    ("later", "holds"),
    [
        ({"status": "affected"}, False),
        ({"status": "under_investigation", "timestamp": "2026-04-02T00:00:00Z"}, False),
        ({"status": "affected", "timestamp": "2026-03-01T00:00:00Z"}, True),
        ({"status": "affected", "timestamp": "soon"}, False),
        ({"status": "affected", "products": [{"@id": "urn:other:name"}]}, False),
        ({"status": "affected", "products": None}, False),
        ({"status": "affected", "products": [{"@id": PURL.replace("app", "b")}]}, True),
        ({"status": "affected", "vulnerability": {"name": "CVE-2026-1001"}}, True),
        (
            {
                "status": "affected",
                "vulnerability": {"name": "GHSA-x", "aliases": ["CVE-2026-1000"]},
            },
            False,
        ),
    ],
)
def test_later_vex_statement_takes_an_earlier_one_back(later: dict[str, Any], holds: bool) -> None:
    for parts in ((statement(), statement(**later)), (statement(**later), statement())):
        assert bool(read("openvex", vex(*parts)).entries) is holds


def test_vex_has_no_packages_and_no_configuration() -> None:
    issue = entry("mysql:ssl", type=IssueType.CONFIGURATION)
    document, kept, skipped = written("openvex", entry(), entry(packages=("a",)), issue)
    assert (len(document["statements"]), len(kept), len(skipped)) == (1, 1, 2)
    assert document["statements"][0]["products"] == [{"@id": PURL}]


# --- All ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_entry_that_is_written_and_read_exempts_the_same(name: str) -> None:
    meant = entry(scope=DEFAULTS.scope if name != "openvex" else entry().scope)
    document, kept, _ = written(name, meant)
    (found,) = read(name, document).entries
    assert kept == (meant,)
    assert replace(found, reason=meant.reason) == meant


def test_document_of_a_later_moment_says_the_same() -> None:
    form = FORMATS["openvex"]
    texts = [
        form.write(Export((entry(),), subject_named(IMAGE), datetime(year, 1, 1), "us")).text
        for year in (2026, 2027)
    ]
    other = form.write(Export((), subject_named(IMAGE), datetime(2026, 1, 1), "us")).text
    assert texts[0] != texts[1]
    assert form.is_same(*(text.encode() for text in texts))
    assert not form.is_same(texts[0].encode(), other.encode())


@pytest.mark.parametrize("name", ["trivyignore", "grype"])
def test_entry_without_a_scope_is_told(name: str) -> None:
    document, _, _ = written(name, entry())
    found = read(name, document, scope=None)
    assert (found.entries, len(found.skipped)) == ((), 1)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_to_write_is_a_document_that_ignores_nothing(name: str) -> None:
    document, _, _ = written(name)
    assert read(name, document) == Imported((), ())


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
WORDS = st.sampled_from(
    "id purls paths statement expired_at vulnerabilities misconfigurations secrets ignore reason "
    "vulnerability package name products @id status subcomponents statements timestamp".split()
)
VALUES = st.sampled_from(
    ["CVE-2026-1000", "not_affected", PURL, "2026-06-30", "pkg:deb/a/b", "pkg:", "%", "pkg:x/%ff"]
)
ANYTHING = st.recursive(
    SCALARS | VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("name", FORMATS)
@given(inner=st.lists(ANYTHING, max_size=3))
def test_hostile_document_ends_in_a_sentence(name: str, inner: list[Any]) -> None:
    forms = {
        "trivyignore": {"vulnerabilities": inner, "misconfigurations": inner},
        "grype": {"ignore": inner},
        "openvex": vex(*inner),
    }
    for document in (forms[name], inner, {"ignore": inner[:1]}):
        with suppress(ValueError, ImgsecError):
            for found in read(name, document).entries:
                json.dumps(found.document()).encode()
