# SPDX-License-Identifier: Apache-2.0
"""The documents promise what the program does: generated pages, links, commands and the schema."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imgsec.cli.app import command_line
from imgsec.domain.engines import NEWEST
from imgsec.domain.exemption import ACCOUNT, Exemption, ExemptionScope, IssueType
from imgsec.domain.gate import GateRules, JudgedFinding, JudgedScan, Mark
from imgsec.domain.gate_file import FileUsed, GateFile
from imgsec.domain.image_list import (
    GroupKind,
    ImageListing,
    ListedImage,
    RegistryImage,
    ScanSummary,
    SecurityStatus,
)
from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.lint_catalogue import DEAD_RULE, LintFinding
from imgsec.domain.policy_lint import Decision, Lint, RulePlace
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import (
    Change,
    Check,
    ExemptionLine,
    ImageReport,
    KeyEntry,
    KeySummary,
    PublishedAt,
    Report,
    ResolvedImage,
    RunningImage,
    ScannedImage,
    SignedImage,
    VerifiedImage,
    VerifierAnswer,
)
from imgsec.domain.verdict import Note as VerdictNote
from imgsec.domain.verdict import because, passed
from imgsec.domain.vulnerability import (
    ADVISOR,
    AffectedPackage,
    Distribution,
    Finding,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    ScanSubject,
    Severity,
    Source,
)
from imgsec.reasons import CATALOGUE, TIMEOUT, Outcome
from imgsec.render.document import report_document
from imgsec.render.evidence import GateContext, verdict_record

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/*/README.md")])
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "render-docs"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def shown_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, re.DOTALL):
            joined = block.replace("\\\n", " ")
            for line in joined.splitlines():
                command = line.strip().removeprefix("$ ")
                if command.startswith("imgsec "):
                    found.append((page.name, command))
    return found


@pytest.mark.parametrize(("page", "command"), shown_commands())
def test_shown_command_is_one_that_the_program_takes(page: str, command: str) -> None:
    """Parsed by the real command line; a word that it does not know fails here."""
    words = shlex.split(command, comments=True)[1:]
    node: Any = command_line()
    while words and words[0] in getattr(node, "commands", {}):
        node = node.commands[words.pop(0)]
    assert not getattr(node, "commands", {}), f"{page}: {command}: no such command"
    known = {
        name for parameter in node.params for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word == "--":
            break
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}, f"{page}: {command}: {word}"


def listing(by: GroupKind | None) -> ImageListing:
    """A list with a row of every standing."""
    image = ImageReference.parse("r.example.com/a/b:1")
    known = RegistryImage(image.at(Digest.of(b"x")), datetime(2026, 1, 2, tzinfo=UTC), 7, "m")
    failing = ScanSummary(ScanStatus.FAIL, 2, 1, datetime(2026, 1, 2, tzinfo=UTC))
    statuses = [
        *(SecurityStatus(ScanSummary(word)) for word in (*ScanStatus, "NEW")),
        *(SecurityStatus(failing), SecurityStatus(), SecurityStatus(reason=TIMEOUT("late"))),
    ]
    bare = ListedImage(RegistryImage(image), statuses[0])
    return ImageListing("r.example.com", (bare, *(ListedImage(known, one) for one in statuses)), by)


def reports() -> list[Report]:
    """One report of every kind that the commands make."""
    image = ImageReference.parse("r.example.com/a/b:1")
    digest = Digest.of(b"x")
    canonical = image.at(digest)
    signer = Fingerprint.parse("AB" * 20)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    scanned = scanned_image(canonical, moment)
    found = (
        ResolvedImage(canonical, "application/x", True, ("linux/amd64",)),
        scanned,
        SignedImage(canonical, signer, True, (digest,), (canonical.tagged_name,)),
        VerifiedImage(canonical, signer, "r.example.com/a/b:1", moment),
        None,
    )
    verdict = passed(VerdictNote("a-note", "text"))
    judged = [Report("c", verdict, (ImageReport(image, verdict, part),)) for part in found]
    key = KeySummary("a", "5f1c7b5a-0000-4000-8000-000000000000", "x", signer, "rsa4096", moment)
    refused = [Report("c", because(kind("text"))) for kind in CATALOGUE.values()]
    public = PublicKey(signer, "rsa4096", moment, None, True, False)
    published = (PublishedAt("a/b", ("ClusterImagePolicy c",)),)
    further: list[Report] = [
        Report(
            "c",
            verdict,
            keys=(
                KeyEntry("a", "id", moment, public, verdict, ("b",), published),
                KeyEntry("a", "id", None, None, refused[0].verdict),
            ),
        ),
        Report("c", verdict, checks=(Check("skopeo", "1.9.3", verdict),)),
        Report("c", verdict, verifiers=(VerifierAnswer("podman", verdict),)),
        Report("c", verdict, running=(RunningImage("nginx", ("a",), verdict),)),
        Report("c", verdict, changes=(Change("kms://a", "adopted"),)),
        Report(
            "c",
            verdict,
            exemptions=(
                ExemptionLine("CVE-2026-1", "cve", "a/b", "advisor-only", None, True),
                ExemptionLine("CVE-2026-1", "cve", "*", "expired", an_exemption(), None),
            ),
        ),
        *(Report("c", verdict, listing=listing(by)) for by in (None, *GroupKind)),
        Report("c", verdict, lint=a_lint()),
    ]
    judged += further
    (step,) = [ImageReport(image, verdict, scanned)]
    judged.append(Report("c", verdict, (ImageReport(image, verdict, steps=(("gate", step),)),)))
    return [*judged, *refused, Report("c", verdict, key=key, changes=(Change("f", "created"),))]


def a_lint() -> Lint:
    place = RulePlace("icr.io/*", "ClusterImagePolicy a", "a.yaml", 1)
    finding = LintFinding(DEAD_RULE, DEAD_RULE.level, "a.yaml", 1, place.owner, "t", "h", "i")
    decisions = (
        Decision("i", None, place, (place,), True),
        Decision("", "n", None, (), False),
    )
    return Lint(NEWEST, (finding, replace(finding, image="")), decisions, ("a.yaml",), 1, 2)


def an_exemption() -> Exemption:
    day = datetime(2026, 1, 2, tzinfo=UTC).date()
    return Exemption("CVE-2026-1", IssueType.CVE, ACCOUNT, "o", "r", day, ("p",), day)


def scanned_image(canonical: ImageReference, moment: datetime) -> ScannedImage:
    """With a finding of every mark, and entries of the ledger with and without everything."""
    finding = Finding(
        "CVE-2026-1",
        "s",
        severity=Severity.HIGH,
        link="https://example.com/1",
        notices=(Notice("n", "https://example.com/n"), Notice("m")),
        packages=(AffectedPackage("p", "1", "2", "Upgrade"), AffectedPackage("q")),
        aliases=("GHSA-1",),
    )
    report = ScanReport(ADVISOR, ScanStatus.FAIL, (finding,), Distribution("d", "1"), moment)
    day = moment.date()
    entries = (
        Exemption("n", IssueType.NOTICE, ACCOUNT, "o", "r", day),
        Exemption(
            *("CVE-2026-1", IssueType.CVE, ExemptionScope.parse("a/b:1"), "o", "r", day),
            packages=("p",),
            created=day,
        ),
    )
    findings = [
        JudgedFinding(finding, mark, status, ("s",), entries)
        for mark, status in zip(Mark, itertools.cycle(PolicyStatus), strict=False)
    ]
    ownerless = JudgedFinding(finding, Mark.EXEMPT, PolicyStatus.EXEMPT, ("s",))
    bare = ScanReport(Source("x"), "NEW")
    subject = ScanSubject(canonical, platform="linux/amd64")
    scan = JudgedScan(subject, (report, bare), (*findings, ownerless), passed())
    return ScannedImage(canonical, (scan, JudgedScan(subject, (), (), passed())))


def test_verdict_records_keep_the_published_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "verdict-record.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for file in (GateFile(), GateFile(GateRules(fail_on=Severity.LOW), None)):
        for used in (None, FileUsed("gate.yaml", "0" * 64)):
            context = GateContext(now, now, file, used, used, notes=(VerdictNote("n", "t"),))
            for report in [one for one in reports() if one.images or one.key]:
                command = replace(report, command="scan-gate")
                jsonschema.validate(json.loads(verdict_record(command, context)), schema)


def test_reports_keep_the_published_schema() -> None:
    from imgsec.cli.output import EXIT_CODES

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for report in reports():
        document = report_document(report, EXIT_CODES[report.verdict.outcome])
        jsonschema.validate(json.loads(json.dumps(document)), SCHEMA)


def test_schema_refuses_an_exit_code_that_contradicts_the_outcome() -> None:
    document = report_document(Report("c", passed()), 1)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_every_outcome_but_pass_has_a_reason_code() -> None:
    assert {kind.outcome for kind in CATALOGUE.values()} == set(Outcome) - {Outcome.PASS}
