# SPDX-License-Identifier: Apache-2.0
"""The options of the scan gate, which every command that gates has.

Whatever can loosen the gate has no environment twin, and every verdict records it.
"""

from __future__ import annotations

from typing import Annotated

from imgsec.cli.options import Option, OptionGroup, loosening, shared
from imgsec.config import GateSettings

_SOURCES = "Sources of findings"
_JUDGING = "Judging"
_EXEMPTIONS = "Exemptions"
_EVIDENCE = "Evidence"

_OPTIONS: dict[str, Option] = {
    "reports": (
        Annotated[
            list[str] | None,
            shared(
                "--report",
                metavar="FILE",
                panel=_SOURCES,
                help="A scan of IMAGE: JSON of Trivy, Grype or the advisor, or SARIF. Repeatable.",
            ),
        ],
        None,
    ),
    "scanner": (
        Annotated[
            str | None,
            shared(
                "--scanner",
                metavar="NAME",
                panel=_SOURCES,
                help="A scanner to run: trivy.",
            ),
        ],
        None,
    ),
    "scanner_sha256": (
        Annotated[
            str | None,
            shared(
                "--scanner-sha256",
                metavar="HEX",
                panel=_SOURCES,
                help="The digest that the scanner's binary must have.",
            ),
        ],
        None,
    ),
    "scanner_cache": (
        Annotated[
            str | None,
            shared(
                "--scanner-cache",
                metavar="DIR",
                panel=_SOURCES,
                help="The scanner's vulnerability database, prepared; without it, it loads one.",
            ),
        ],
        None,
    ),
    "allow_unpinned_scanner": (
        Annotated[
            bool,
            loosening(
                "--allow-unpinned-scanner",
                panel=_SOURCES,
                help="Run the scanner that is there, whoever put it there. Recorded.",
            ),
        ],
        False,
    ),
    "no_advisor": (
        Annotated[
            bool,
            loosening(
                "--no-advisor",
                panel=_SOURCES,
                help="Do not ask Vulnerability Advisor, though it serves the registry. Recorded.",
            ),
        ],
        False,
    ),
    "gate": (
        Annotated[
            str | None,
            loosening("--gate", metavar="FILE", panel=_JUDGING, help="Gate file: gate.yaml."),
        ],
        None,
    ),
    "fail_on": (
        Annotated[
            str | None,
            loosening(
                "--fail-on",
                metavar="SEVERITY",
                panel=_JUDGING,
                help="Gate only what is this bad or worse: negligible, low, medium, high, critical;"
                " or any.",
            ),
        ],
        None,
    ),
    "unknown_severity": (
        Annotated[
            str | None,
            loosening(
                "--unknown-severity",
                metavar="fail|ignore",
                panel=_JUDGING,
                help="With --fail-on: findings whose severity nobody says. They fail by default.",
            ),
        ],
        None,
    ),
    "only_fixed": (
        Annotated[
            bool | None,
            loosening(
                "--only-fixed/--not-only-fixed",
                panel=_JUDGING,
                help="Gate only findings that a fix exists for.",
            ),
        ],
        None,
    ),
    "grace": (
        Annotated[
            str | None,
            loosening(
                "--grace",
                metavar="DAYS",
                panel=_JUDGING,
                help="Gate a finding only this long after a fix for it appeared, such as 14d.",
            ),
        ],
        None,
    ),
    "baseline": (
        Annotated[
            str | None,
            loosening(
                "--baseline",
                metavar="IMAGE",
                panel=_JUDGING,
                help="Gate only what this image, the last one released, does not have.",
            ),
        ],
        None,
    ),
    "unsupported": (
        Annotated[
            str | None,
            loosening(
                "--unsupported",
                metavar="WORD",
                panel=_JUDGING,
                help="An image that no source can assess: undecided (default), refuse or pass.",
            ),
        ],
        None,
    ),
    "end_of_life": (
        Annotated[
            str | None,
            loosening(
                "--end-of-life",
                metavar="WORD",
                panel=_JUDGING,
                help="A distribution without updates: undecided (default), refuse or pass.",
            ),
        ],
        None,
    ),
    "max_age": (
        Annotated[
            str | None,
            loosening(
                "--max-age",
                metavar="TIME",
                panel=_JUDGING,
                help="How old a report may be, such as 90m, 24h (default) or 7d; or any.",
            ),
        ],
        None,
    ),
    "mode": (
        Annotated[
            str | None,
            loosening(
                "--mode",
                metavar="enforce|warn",
                panel=_JUDGING,
                help="warn: say what would refuse, and pass.",
            ),
        ],
        None,
    ),
    "exemptions": (
        Annotated[
            str | None,
            loosening(
                "--exemptions",
                metavar="FILE",
                panel=_EXEMPTIONS,
                help="The ledger of exemptions: exemptions.yaml.",
            ),
        ],
        None,
    ),
    "ledger_only": (
        Annotated[
            bool | None,
            loosening(
                "--ledger-only/--ledger-and-advisor",
                panel=_EXEMPTIONS,
                help="Count only the ledger's exemptions, and not the advisor's own.",
            ),
        ],
        None,
    ),
    "effective_time": (
        Annotated[
            str | None,
            loosening(
                "--effective-time",
                metavar="DAY",
                panel=_EXEMPTIONS,
                help="Judge as on that day, such as 2026-12-31: what will refuse then?",
            ),
        ],
        None,
    ),
    "allow_past_effective_time": (
        Annotated[
            bool,
            loosening(
                "--allow-past-effective-time",
                panel=_EXEMPTIONS,
                help="Let --effective-time be a day in the past, when exemptions still held.",
            ),
        ],
        False,
    ),
}
GATE = OptionGroup(GateSettings, "gate", _OPTIONS)

EvidenceOpt = Annotated[
    str | None,
    shared(
        "--evidence",
        metavar="FILE",
        panel=_EVIDENCE,
        help="Write the verdict record: what was judged, on which data, by which rules.",
    ),
]
