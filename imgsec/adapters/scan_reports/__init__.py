# SPDX-License-Identifier: Apache-2.0
"""Reports of advisors and scanners, as they write them: a format is one file and one line.

Every text in a report is foreign: it is kept as it is, bounded, and never trusted to be a name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imgsec.domain.vulnerability import ScanReport


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """A report, and the digests that it names its image by: of a manifest, or a configuration.

    said: what it says it is about, in its own words.
    """

    digests: frozenset[str]
    said: str
    report: ScanReport


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One form of report. read: raises `MALFORMED` for a document that only looks like it."""

    name: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any], list[ClaimedReport]]


# What parsing a document of the wrong shape ends in; the reader says of what.
MALFORMED = (KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError)
