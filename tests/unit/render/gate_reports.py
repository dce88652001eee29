# SPDX-License-Identifier: Apache-2.0
"""Reports of the gate to be rendered: with a bit of everything, hostile ones, and a huge one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType, Ledger
from imgsec.domain.gate import GateRules, JudgedScan, Mode, judge_manifest
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, Report, ScannedImage
from imgsec.domain.verdict import Note, Verdict, all_of, because
from imgsec.domain.vulnerability import (
    ADVISOR,
    AffectedPackage,
    Distribution,
    Finding,
    IssueKind,
    Notice,
    PolicyStatus,
    ScanReport,
    ScanStatus,
    ScanSubject,
    Severity,
    Source,
)
from imgsec.reasons import SERVICE_UNREACHABLE

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
IMAGE = ImageReference.parse("us.icr.io/team/app:1.4.2").at(Digest.of(b"app"))
OTHER = ImageReference.parse("us.icr.io/team/worker:7").at(Digest.of(b"worker"))
SCANNER = Source("trivy", "0.69.3")
DEBIAN = Distribution("debian", "12")
OPENSSL = AffectedPackage(
    "openssl", "3.0.11-1~deb12u2", "3.0.15-1~deb12u1", "", NOW - timedelta(days=40)
)
LIBSSL = AffectedPackage(
    "libssl3", "3.0.11-1~deb12u2", "3.0.15-1~deb12u1", "", NOW - timedelta(days=40)
)
CURL = AffectedPackage(
    "curl", "7.88.1-10", "7.88.1-10+deb12u8", "Upgrade curl to 7.88.1-10+deb12u8 and rebuild"
)
FINDINGS = (
    Finding(
        "CVE-2026-1042",
        "A certificate with a malformed name constraint makes the client read past the end of a"
        " buffer, which an attacker in the network can use to run code.",
        severity=Severity.CRITICAL,
        link="https://nvd.nist.gov/vuln/detail/CVE-2026-1042",
        notices=(Notice("DSA-5790-1", "https://security-tracker.debian.org/tracker/DSA-5790-1"),),
        packages=(OPENSSL, LIBSSL),
        aliases=("GHSA-xxxx-yyyy-zzzz",),
    ),
    Finding(
        "CVE-2026-2203",
        "HSTS is not kept for a host that ends in a dot.",
        severity=Severity.HIGH,
        link="https://nvd.nist.gov/vuln/detail/CVE-2026-2203",
        packages=(CURL,),
    ),
    Finding(
        "CVE-2025-88410",
        "Time that padding takes tells one bit of the key.",
        severity=Severity.HIGH,
        packages=(OPENSSL,),
    ),
    Finding(
        "CVE-2024-7001",
        "Long lines are cut in the wrong place.",
        severity=Severity.MEDIUM,
        packages=(AffectedPackage("zlib1g", "1:1.2.13"),),
    ),
    Finding(
        "CVE-2023-4911",
        "The loader trusts an environment variable.",
        severity=Severity.HIGH,
        packages=(AffectedPackage("libc6", "2.36-9", "2.36-9+deb12u3"),),
    ),
    Finding(
        "CVE-2022-1",
        "A crash in a tool that nobody starts.",
        severity=Severity.LOW,
        packages=(AffectedPackage("perl-base", "5.36.0-7"),),
    ),
    Finding("CVE-2021-9", "", severity=Severity.NEGLIGIBLE, packages=(LIBSSL,)),
    Finding("GHSA-abcd-efgh-ijkl", "Nobody has rated it.", packages=(AffectedPackage("left-pad"),)),
)
ADVISORS = (
    Finding(
        "CVE-2023-4911",
        "The loader trusts an environment variable.",
        status=PolicyStatus.EXEMPT,
        notices=(Notice("DSA-5514-1", "", exempt=True),),
        packages=(AffectedPackage("libc6", "2.36-9", "2.36-9+deb12u3", "Upgrade libc6"),),
    ),
    Finding(
        "application_configuration:mysql.ssl-ca",
        "TLS certificates are not checked by the database's client.",
        kind=IssueKind.CONFIGURATION,
        link="see the security practices of your team",
        packages=(AffectedPackage("my.cnf", "", "", "Set ssl-ca in /etc/mysql/my.cnf"),),
    ),
)
ENTRY = Exemption(
    "CVE-2025-88410",
    IssueType.CVE,
    ExemptionScope.parse("us.icr.io/team/app"),
    "platform-team",
    "The key never signs for strangers; see the review of April.",
    date(2026, 12, 31),
)


def reports(findings: Sequence[Finding] = FINDINGS) -> tuple[ScanReport, ...]:
    """What a scanner and the advisor say."""
    return (
        ScanReport(
            SCANNER,
            ScanStatus.FAIL if findings else ScanStatus.OK,
            tuple(findings),
            DEBIAN,
            checked_at=NOW - timedelta(hours=5),
            made_at=NOW - timedelta(minutes=20),
        ),
        ScanReport(ADVISOR, ScanStatus.FAIL, ADVISORS, DEBIAN, checked_at=NOW - timedelta(hours=2)),
    )


def judged(
    found: Sequence[ScanReport],
    image: ImageReference = IMAGE,
    *,
    rules: GateRules | None = None,
    platform: str = "",
    entry: Exemption | None = None,
) -> JudgedScan:
    """The scan of one manifest, with one entry in the ledger."""
    return judge_manifest(
        ScanSubject(image, platform=platform),
        found,
        rules or GateRules(fail_on=Severity.MEDIUM, only_fixed=True),
        ledger=Ledger((entry or ENTRY,)),
        now=NOW,
    )


def report(*scans: JudgedScan, image: ImageReference = IMAGE, notes: Sequence[Note] = ()) -> Report:
    """The report of a gate about one image."""
    part = part_of(*scans, image=image)
    verdict = part.verdict
    return Report("scan-gate", Verdict(verdict.outcome, verdict.reasons, tuple(notes)), (part,))


def part_of(*scans: JudgedScan, image: ImageReference = IMAGE) -> ImageReport:
    return ImageReport(image, all_of(scan.verdict for scan in scans), ScannedImage(image, scans))


def report_of_all() -> Report:
    """Three images: on two platforms, without findings, unreachable; and notes of the whole."""
    rules = GateRules(fail_on=Severity.MEDIUM, only_fixed=True)
    first = part_of(
        judged(reports(), IMAGE.at(Digest.of(b"1")), rules=rules, platform="linux/amd64"),
        judged(
            reports(FINDINGS[1:4]), IMAGE.at(Digest.of(b"2")), rules=rules, platform="linux/arm64"
        ),
    )
    clean = ScanReport(SCANNER, ScanStatus.OK, (), DEBIAN, made_at=NOW)
    second = part_of(judged([clean], OTHER, rules=rules), image=OTHER)
    asked = ImageReference.parse("us.icr.io/team/gone:1")
    third = ImageReport(asked, because(SERVICE_UNREACHABLE("us.icr.io did not answer")))
    parts = (first, second, third)
    verdict = all_of(part.verdict for part in parts)
    notes = (*rules.notes, *verdict.notes)
    return Report("scan-gate", Verdict(verdict.outcome, verdict.reasons, notes), parts)


def warning_report() -> Report:
    rules = GateRules(mode=Mode.WARN)
    scan = judged(reports(), rules=rules)
    part = part_of(scan)
    verdict = Verdict(part.verdict.outcome, (), (*rules.notes, *part.verdict.notes))
    return Report("scan-gate", verdict, (part,))


def hostile_finding(text: str) -> Finding:
    """The text wherever a source can say something."""
    return Finding(
        text,
        text,
        link=text,
        notices=(Notice(text, text),),
        packages=(AffectedPackage(text, text, text, text, NOW), AffectedPackage(text + "2")),
        aliases=(text,),
    )


def hostile_report(*texts: str) -> Report:
    """Each text wherever foreign text can come from."""
    found = [
        ScanReport(
            Source(text, text),
            text,
            (
                hostile_finding(text),
                Finding(text + "!", text, kind=IssueKind.CONFIGURATION, packages=()),
            ),
            Distribution(text, text),
            remarks=(("remark", text),),
        )
        for text in texts
    ]
    scans = [judged([one], rules=GateRules(), platform=one.source.name) for one in found]
    return report(*scans, notes=[Note("note", text) for text in texts])


def huge_report(count: int = 5000) -> Report:
    """As many findings as the worst of images has."""
    severities = sorted(Severity, reverse=True)
    findings = [
        Finding(
            f"CVE-2025-{10_000 + number}",
            f"Summary {number}: a function reads past the end of what it was given, and crashes.",
            severity=severities[number % 6],
            link=f"https://nvd.nist.gov/vuln/detail/CVE-2025-{10_000 + number}",
            packages=(
                AffectedPackage(f"package-{number % 400}", "1.2.3-4", f"1.2.{number % 9 + 4}-1"),
            ),
        )
        for number in range(count)
    ]
    return report(judged([ScanReport(SCANNER, ScanStatus.FAIL, tuple(findings), DEBIAN)]))
