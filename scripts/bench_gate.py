# SPDX-License-Identifier: Apache-2.0
"""The figures of the scan gate, for scripts/bench: large reports, and many images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from scripts.bench_many import Bench, Shelf, peak_memory

FINDINGS, IMAGES, WORKERS = 5000, 200, 16
ANSWER_SECONDS = 0.2
FORMATS = ("json", "sarif", "junit", "markdown", "html")
# What anybody's Python does with the same report, at least.
DUMP = "import json, sys; json.dump(json.load(open(sys.argv[1])), sys.stdout, indent=2)"
Run = Callable[[list[str]], None]


def all_gate(
    imgsec: str, python: str, folder: Path, images: list[str], run: Run, names: list[str]
) -> Iterator[Bench]:
    """images: in the registry; names: the figures that are asked for, none for all."""
    report = folder / "report.json"
    outputs = [f"--output={name}={folder}/gate.{name}" for name in FORMATS]

    def gate(_: int) -> None:
        run([imgsec, *words()])

    def words() -> list[str]:
        if not report.exists():
            write_report(report, images[0])
        gated = ("scan-gate", images[0], "--no-advisor", "--report", str(report), "--mode", "warn")
        return [*gated, *outputs]

    def judged(number: int) -> None:
        gate(number)
        if number == 0:
            peak = peak_memory([imgsec, *words()])
            print(f"{'':10} {FINDINGS} findings: at most {peak:.0f} MB")

    yield Bench(
        "gate-report",
        f"scan-gate of {FINDINGS} findings, written in {len(FORMATS)} formats and as text",
        "a bare Python process that loads the report and dumps it indented",
        4,
        judged,
        lambda _: run([python, "-c", DUMP, str(report)]),
    )
    shelf = Shelf(folder)
    listed = ""
    if not names or "gate-many" in names:
        listed = shelf.listed(shelf.images(IMAGES))

    def many(workers: int) -> None:
        _delay(ANSWER_SECONDS)
        run(
            [
                *(imgsec, "scan-gate", "--images-file", listed, "--timeout", "600"),
                *("--workers", str(workers)),
            ]
        )
        _delay(0)

    yield Bench(
        "gate-many",
        f"scan-gate of {IMAGES} images, {WORKERS} at once, whose advisor answers in 200 ms",
        "the same one after another",
        1 / 10,
        lambda _: many(WORKERS),
        lambda _: many(1),
        runs=3,
    )


def write_report(path: Path, image: str) -> None:
    """A report of this image as Trivy writes it, with descriptions and references."""
    import subprocess

    words = [sys.executable, "-m", "imgsec", "resolve", image, "--output", "json"]
    done = subprocess.run(words, capture_output=True, check=True)
    (found,) = json.loads(done.stdout)["images"]
    vulnerabilities = [
        {
            "VulnerabilityID": f"CVE-2026-{10_000 + number}",
            "VendorIDs": [f"DSA-{number}-1"],
            "PkgID": f"package-{number % 300}@1.{number % 7}.0",
            "PkgName": f"package-{number % 300}",
            "InstalledVersion": f"1.{number % 7}.0",
            "FixedVersion": f"1.{number % 7}.{number % 11}" if number % 3 else "",
            "Status": "fixed" if number % 3 else "affected",
            "SeveritySource": "debian",
            "PrimaryURL": f"https://avd.aquasec.com/nvd/cve-2026-{10_000 + number}",
            "Title": f"made up: what number {number} is about, in a line",
            "Description": "A made-up description, as long as such texts are. " * 8,
            "Severity": ("LOW", "MEDIUM", "HIGH", "CRITICAL")[number % 4],
            "CVSS": {"nvd": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N", "V3Score": 7.5}},
            "References": [f"https://example.com/{number}/{one}" for one in range(6)],
            "PublishedDate": "2026-01-02T03:04:05Z",
        }
        for number in range(FINDINGS)
    ]
    document = {
        "SchemaVersion": 2,
        "CreatedAt": datetime.now(UTC).isoformat(),
        "ArtifactName": image,
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.8"},
            "RepoDigests": [found["canonical"]],
        },
        "Results": [
            {
                "Target": image,
                "Class": "os-pkgs",
                "Type": "debian",
                "Packages": [{"Name": "package-0", "Version": "1.0.0"}],
                "Vulnerabilities": vulnerabilities,
            }
        ],
    }
    path.write_text(json.dumps(document))


def _delay(seconds: float) -> None:
    """How long the advisor takes for an answer; 0 for as long as it takes."""
    from imgsec.sandbox.faults import clear_rules, set_rule
    from imgsec.sandbox.folder import StateFolder

    folder = StateFolder(Path(os.environ["IMGSEC_SANDBOX_DIR"]))
    if seconds:
        set_rule(folder, "va", {"kind": "slow", "delay": seconds})
    else:
        clear_rules(folder, "va")
