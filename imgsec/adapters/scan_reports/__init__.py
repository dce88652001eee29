# SPDX-License-Identifier: Apache-2.0
"""Reports of advisors and scanners, as they write them: a format is one file and one line.

Every text in a report is foreign: it is kept as it is, bounded, and never trusted to be a name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imgsec.domain.vulnerability import ScanReport, ScanSubject


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """A report, and the digests that it names its image by: of a manifest, or a configuration.

    said: what it says it is about, in its own words. image_ids: those of the digests that must be
    the image's own, as its configuration's is. registered: those by which registries know it, of
    which one must be its own or its index's.
    """

    digests: frozenset[str]
    said: str
    report: ScanReport
    image_ids: frozenset[str] = frozenset()
    registered: frozenset[str] = frozenset()

    def is_about(self, subject: ScanSubject) -> bool:
        """It names this manifest, or its configuration, and nothing that contradicts that.

        The name of its index is not enough where that lists several: a scan looks at one platform.
        A configuration alone is not either, where the report names a manifest besides: others can
        be pushed with it.
        """
        manifest = str(subject.digest)
        own = {manifest} if subject.config is None else {manifest, str(subject.config)}
        if subject.is_only:
            own.add(str(subject.index))
        known_as = {manifest} if subject.index is None else {manifest, str(subject.index)}
        if subject.config is not None and self.image_ids and own.isdisjoint(self.image_ids):
            return False
        if self.registered and known_as.isdisjoint(self.registered):
            return False
        return not own.isdisjoint(self.digests)


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One form of report. read: raises `MALFORMED` for a document that only looks like it."""

    name: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any], list[ClaimedReport]]


# What parsing a document of the wrong shape ends in; the reader says of what.
MALFORMED = (KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError)
