# SPDX-License-Identifier: Apache-2.0
"""The page of a gate's report: whole, self-contained, and deaf to what sources write into it."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import jinja2
import pytest
import yaml

from imgsec.domain.exemption import ACCOUNT, Exemption, ExemptionScope, IssueType, Ledger
from imgsec.domain.gate import GateRules
from imgsec.domain.reference import Digest
from imgsec.domain.report import ImageReport, Report
from imgsec.domain.verdict import all_of, because
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    IssueKind,
    Notice,
    ScanReport,
    ScanStatus,
    ScanSubject,
)
from imgsec.reasons import INVALID_OPTION, SERVICE_UNREACHABLE
from imgsec.render import html
from imgsec.render.html import report_html
from imgsec.render.text import report_lines
from tests.unit.render.gate_reports import (
    ADVISORS,
    FINDINGS,
    IMAGE,
    NOW,
    SCANNER,
    hostile_report,
    huge_report,
    judged,
    part_of,
    report,
    report_of_all,
    reports,
    warning_report,
)

HOSTILE = (
    "</style></script><script>window.hacked=1</script>",
    "\"><img src=x onerror='window.hacked=1'>",
    "{{ 7*7 }}{% include 'x' %}",
    "javascript:window.hacked=1",
    'https://evil.example/"onmouseover=window.hacked=1 x="',
    "a\u202eb\u2066c\x00d\x1b[31m\u200be\U000e0041f\ud800",
    "</pre>\n- id: CVE-2026-1\n  account-wide: true\n#",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
)
VOID = {"meta", "input", "wbr", "rect", "circle", "path", "img", "base", "br", "link"}


class Page(HTMLParser):
    """What a browser would make of the markup, roughly: elements, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self.entries: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs))
        if tag == "pre":
            self.entries.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            self.inline[self._open[-1]] = data
            return
        self.text += data
        if "pre" in self._open:
            self.entries[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(shown: Report) -> Page:
    return Page(report_html(shown))


def entries_of(page: Page) -> list[dict[str, object]]:
    return [entry for text in page.entries for entry in yaml.safe_load(text)]


def test_page_has_everything_about_every_finding() -> None:
    page = page_of(report(judged(reports())))
    for finding in (*FINDINGS, *ADVISORS):
        for text in (finding.id, finding.summary, *finding.aliases):
            assert text in page.text, text
        for part in finding.packages:
            assert part.name in page.text
            assert part.installed in page.text
            assert part.fixed in page.text
    for text in (
        "Upgrade curl to 7.88.1-10+deb12u8 and rebuild",  # the corrective action
        "Upgrade openssl to 3.0.15-1~deb12u1",  # for want of one
        "Set ssl-ca in /etc/mysql/my.cnf",
        "How to resolve",
        "Security practice",
        "Until 2026-12-31 by platform-team: The key never signs for strangers",
        "At the source, on nobody's word.",
        "DSA-5514-1 (exempt)",
        "see the security practices of your team",
        "trivy 0.69.3",
        "vulnerability-advisor v4",
        "debian 12",
        "2026-05-04 12:10 UTC",
        "2026-05-04 07:30 UTC",
        "2026-05-04 10:30 UTC",
        "Fixed since",
        "2026-03-25 12:30 UTC",
    ):
        assert text in page.text, text


def test_summary_says_the_verdict_and_what_helps_most() -> None:
    text = page_of(report(judged(reports()))).text
    for said in (
        "Deployment Blocked",
        "9 findings in 1 image; 3 refuse.",
        "finding-in-force",
        "What helps most",
        "Upgrade curl to 7.88.1-10+deb12u8: clears 1 of 3",
        "exempt at the source, on nobody's word: CVE-2023-4911",
    ):
        assert said in text, said
    for counted in ("Critical 1", "High 3", "Unknown 2", "Refuses 3", "Exempt 2", "No fix 2"):
        assert counted in text, counted
    assert text.index("What helps most") < text.index("CVE-2026-1042")


def test_vulnerabilities_and_configuration_issues_stand_apart() -> None:
    text = page_of(report(judged(reports()))).text
    first, second = text.index("Vulnerabilities 8"), text.index("Configuration issues 1")
    assert first < text.rindex("CVE-2021-9") < second < text.rindex(ADVISORS[1].summary)


def test_every_image_and_platform_has_its_place() -> None:
    shown = report_of_all()
    page = page_of(shown)
    for part in shown.images:
        for scan in getattr(part.found, "scans", ()):
            assert str(scan.digest) in page.text
    for said in (
        "us.icr.io/team/app:1.4.2 linux/amd64",
        "us.icr.io/team/app:1.4.2 linux/arm64",
        "us.icr.io/team/worker:7",
        "us.icr.io/team/gone:1",
        "us.icr.io did not answer",
        "14 findings in 3 images; 5 refuse.",
        "1 Deployment Blocked, 1 OK to Deploy, 1 Deployment Blocked (undecided).",
        "only findings of severity medium and above are gated",
        "No findings.",
    ):
        assert said in page.text, said
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    linked = [href for one in page.all("a") if (href := one["href"] or "").startswith("#")]
    assert {href[1:] for href in linked} <= set(names)


def test_platforms_are_counted_where_images_have_several() -> None:
    two = [judged(reports(), IMAGE.at(Digest.of(text)), platform="p") for text in (b"1", b"2")]
    assert "in 1 image on 2 platforms; 6 refuse." in page_of(report(*two)).text


def test_what_could_not_be_decided_says_so() -> None:
    unfinished = judged([ScanReport(SCANNER, ScanStatus.INCOMPLETE)])
    text = page_of(report(unfinished)).text
    assert "Deployment Blocked (undecided)" in text
    assert "scan-incomplete" in text
    assert "Trying again can help." in text
    assert "OK to Deploy" not in text
    strange = page_of(report(judged([ScanReport(SCANNER, "BLOCK", FINDINGS[:1])]))).text
    assert "scan-status-unknown" in strange
    assert "BLOCK" in strange


def test_findings_that_only_warn_are_not_said_to_refuse() -> None:
    text = page_of(warning_report()).text
    assert "Deploy with Caution" in text
    assert "Would refuse" in text
    assert "Refuses" not in text
    assert "refuses the image" not in text
    assert "findings in force are told and do not refuse" in text


def test_image_without_findings_may_go_out() -> None:
    page = page_of(report(judged([ScanReport(SCANNER, ScanStatus.OK)])))
    assert "OK to Deploy" in page.text
    assert "No findings in 1 image; none refuses." in page.text
    assert "script" not in page.inline  # there is nothing to filter


@pytest.mark.parametrize(
    "shown",
    [
        Report("scan-gate", all_of([])),
        Report("scan-gate", because(INVALID_OPTION("what is this?"))),
        Report(
            "scan-gate",
            because(SERVICE_UNREACHABLE("gone")),
            (ImageReport(IMAGE, because(SERVICE_UNREACHABLE("gone"))),),
        ),
        report(judged([])),
    ],
)
def test_report_without_any_scan_is_a_page_with_its_reasons(shown: Report) -> None:
    text = page_of(shown).text
    assert "Deployment Blocked (undecided)" in text
    for reason in shown.verdict.reasons:
        assert text.count(reason.code) == 1
        assert reason.text in text
        assert reason.hint in text


# --- The entry to copy ------------------------------------------------------------------------


def test_entry_is_refused_until_a_person_has_filled_it_in() -> None:
    entries = entries_of(page_of(report(judged(reports()))))
    assert len(entries) == 8  # one of the nine is exempt by the ledger already
    for entry in entries:
        with pytest.raises(ValueError, match="owner is missing"):
            Exemption.parse(entry)
        with pytest.raises(ValueError, match="reason is missing"):
            Exemption.parse(entry | {"owner": "team"})
        with pytest.raises(ValueError, match="expires is missing"):
            Exemption.parse(entry | {"owner": "team", "reason": "why"})
        with pytest.raises(ValueError, match="owner is missing"):
            Exemption.parse(entry | {"reason": "why", "expires": "2026-12-31"})
    document = {"version": 1, "exemptions": entries}
    assert Ledger.parse(document).entries == ()


def test_entry_that_is_filled_in_exempts_its_finding_and_no_more() -> None:
    scan = judged(reports())
    entries = entries_of(page_of(report(scan)))
    filled = [
        Exemption.parse(one | {"owner": "t", "reason": "w", "expires": "2026-12-31"})
        for one in entries
    ]
    found = {one.finding.id: one.finding for one in scan.findings}
    for entry in filled:
        assert entry.names(found[entry.issue])
        assert entry.covers_packages(found[entry.issue])
        assert entry.scope.covers(scan.subject)
        assert entry.scope.kind == "digest"
        assert not entry.scope.covers(ScanSubject(IMAGE.at(Digest.of(b"other"))))
    types = {entry.issue: entry.type for entry in filled}
    assert types["CVE-2026-1042"] is IssueType.CVE
    assert types["GHSA-abcd-efgh-ijkl"] is IssueType.NOTICE
    assert types["application_configuration:mysql.ssl-ca"] is IssueType.CONFIGURATION
    again = [entry.document() for entry in filled]
    assert [list(one) for one in again] == [list(one) for one in entries]


def test_entry_is_read_back_as_the_text_it_was_made_of() -> None:
    names = ("true", "null", "1e5", "2026-01-01", "1:30", "0x1f", "a:b", "@scope/pkg", "g++", "No")
    findings = [
        Finding(name, packages=(AffectedPackage(name),))
        for name in (*(name for name in names if name[0] != "@" and len(name) > 2), "CVE-2026-1")
    ]
    entries = entries_of(page_of(report(judged(reports(findings)[:1]))))
    for finding in findings:
        assert {"id": finding.id, "packages": [finding.id]}.items() <= next(
            one.items() for one in entries if one["id"] == finding.id
        )
    (entry,) = entries_of(
        page_of(
            report(
                judged(
                    reports([Finding("CVE-2026-1", packages=tuple(map(AffectedPackage, names)))])[
                        :1
                    ]
                )
            )
        )
    )
    assert entry["packages"] == list(names)


def test_no_entry_is_offered_for_what_no_ledger_can_name() -> None:
    findings = [
        Finding("not an id", packages=(AffectedPackage("x"),)),
        Finding("CVE-2026-2", packages=(AffectedPackage("no name"), AffectedPackage("x"))),
    ]
    page = page_of(report(judged(reports(findings)[:1])))
    (entry,) = entries_of(page)
    assert entry["id"] == "CVE-2026-2"
    assert "packages" not in entry
    assert ExemptionScope.parse(str(entry["scope"])).kind == "digest"


# --- Foreign text -----------------------------------------------------------------------------


def test_foreign_text_makes_no_element_and_no_attribute() -> None:
    """The hostile page has the elements and attributes that a harmless one has, and no others."""
    harmless = page_of(hostile_report("two words"))  # no id of an entry either
    known = {(tag, name) for tag, attributes in harmless.elements for name in attributes}
    for text in HOSTILE:
        page = page_of(hostile_report(text))
        found = [(tag, name) for tag, attributes in page.elements for name in attributes]
        assert set(found) <= known, text
        assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements], text
        assert page.inline == harmless.inline


def test_foreign_text_is_there_to_be_read() -> None:
    text = page_of(hostile_report(*HOSTILE)).text
    for said in (HOSTILE[0], HOSTILE[1], "{{ 7*7 }}", "&lt;b&gt;", "<!--"):
        assert said in text
    assert "49" not in text.replace("49 ", "")


def test_nothing_turns_the_text_around_or_hides_in_it() -> None:
    text = report_html(hostile_report(*HOSTILE))
    text.encode()  # no half of a surrogate pair
    assert all(one.isprintable() or one == "\n" for one in text)
    assert "\n- id: CVE-2026-1\n" not in text


@pytest.mark.parametrize(
    ("link", "linked"),
    [
        ("https://nvd.nist.gov/vuln/detail/CVE-2026-1?a=b&c=d#e", True),
        ("https://example.com", True),
        ("https://example.com:8443/x", True),
        ("https://xn--bcher-kva.example/", True),
        ("http://example.com/", False),
        ("HTTPS://example.com/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,<script>", False),
        ("//example.com/", False),
        ("https://user:password@example.com/", False),
        ("https://nvd.nist.gov@evil.example/", False),
        ("https://nvd.nist.gov\\@evil.example/", False),
        ("https:///example.com", False),
        ("https://exam\u0440le.com/", False),
        ("https://example.com/\u202egpj.exe", False),
        ("https://example.com/a b", False),
        ("https://example.com/\n", False),
        ("https://example.com/'\"><b>", False),
        (" https://example.com/", False),
        ("https://example.com/" + "a" * 3000, False),
    ],
)
def test_only_what_is_an_address_beyond_doubt_is_a_link(link: str, linked: bool) -> None:
    page = page_of(report(judged(reports([Finding("CVE-2026-1", link=link)])[:1])))
    links = [one for one in page.all("a") if not (one["href"] or "").startswith("#")]
    assert [one["href"] for one in links] == ([link] if linked else [])
    assert all(one["rel"] == "noopener noreferrer" for one in links)


def test_policy_of_the_page_allows_its_own_style_and_script_alone() -> None:
    text = report_html(report_of_all())
    page = Page(text)
    (policy,) = [
        one["content"] or ""
        for one in page.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    said = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert said.pop("default-src") == "'none'"
    assert said.pop("base-uri") == "'none'"
    assert said.pop("form-action") == "'none'"
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inline[name].encode()).digest()).decode()
        assert said.pop(f"{name}-src") == f"'sha256-{digest}'"
        assert text.count(f"<{name}>") == 1
    assert said == {}
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_page_loads_nothing() -> None:
    page = page_of(report_of_all())
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "video")
        names = set(attributes)
        assert not names & {"src", "srcset", "style", "background", "ping", "action", "poster"}
        assert not any(name.startswith("on") for name in names)
        assert ("href" in names) <= (tag == "a")
    assert not re.search(r"url\(|@import|@font-face", page.inline["style"])
    assert not re.search(r"fetch|XMLHttp|import|innerHTML|eval|WebSocket", page.inline["script"])


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    environment = html._environment()
    assert environment.autoescape is True
    with pytest.raises(jinja2.UndefinedError):
        environment.from_string("{{ nothing }}").render()


def test_notice_that_is_exempt_in_part_is_named() -> None:
    finding = Finding("CVE-2026-1", notices=(Notice("DSA-1-1"), Notice("DSA-2-1")))
    entry = Exemption("DSA-1-1", IssueType.NOTICE, ACCOUNT, "jane", "why", NOW.date())
    scans = [ScanReport(SCANNER, ScanStatus.FAIL, (finding,))]
    shown = report(judged(scans, rules=GateRules(), entry=entry))
    assert f"DSA-1-1 until {NOW.date()} by jane" in page_of(shown).text
    lines = "\n".join(report_lines(shown))
    assert f"DSA-1-1 is exempt until {NOW.date()} by jane: why" in lines
    assert "Partially exempt" in lines


def test_texts_of_a_ledger_are_foreign_too() -> None:
    scan = judged(reports())
    (one,) = (one for one in scan.findings if one.exemptions)
    entry = replace(one.exemptions[0], owner=HOSTILE[0], reason=HOSTILE[5])
    exempt = replace(one, exemptions=(entry,))
    shown = report(replace(scan, findings=(exempt,)))
    text = report_html(shown)
    assert HOSTILE[0] not in text
    assert "\u202e" not in text
    assert HOSTILE[0] in Page(text).text


# --- Size -------------------------------------------------------------------------------------


def test_thousands_of_findings_are_rendered_soon() -> None:
    shown = huge_report(5000)
    began = time.process_time()
    text = report_html(shown)
    spent = time.process_time() - began
    assert text.count("<details>") == 5000
    assert spent < 2.5, "a third of a second is usual"


def test_findings_without_anything_are_shown_as_well() -> None:
    bare = [Finding("CVE-2026-1"), Finding("x", kind=IssueKind.CONFIGURATION)]
    page = page_of(report(judged(reports(bare)[:1])))
    assert "No fix is known." in page.text
    assert "Its source says none." in page.text


def test_two_images_with_the_same_findings_are_told_apart() -> None:
    scans = [judged(reports(), replace(IMAGE, repository=name)) for name in ("team/a", "team/b")]
    parts = tuple(part_of(scan, image=scan.subject.image) for scan in scans)
    shown = Report("scan-gate", all_of(part.verdict for part in parts), parts)
    scopes = {str(entry["scope"]).partition("@")[0] for entry in entries_of(page_of(shown))}
    assert scopes == {"us.icr.io/team/a", "us.icr.io/team/b"}
