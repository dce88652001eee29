# SPDX-License-Identifier: Apache-2.0
"""What an earlier run of the gate found, as far as exemptions are about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """A finding of one image, by its canonical name. used: issue and scope of its exemptions."""

    image: str
    kind: str
    names: frozenset[str]
    packages: frozenset[str]
    used: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class GateReport:
    """What one run of the gate found, by its report. scans: of how many images or platforms."""

    path: str
    scans: int
    findings: tuple[ReportedFinding, ...]
