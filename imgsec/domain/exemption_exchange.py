# SPDX-License-Identifier: Apache-2.0
"""What comes out of another tool's exemptions and what goes into them, whatever the form is.

What an entry says that the other side cannot say is never left out to make it fit, since it would
exempt more: the entry is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType, is_cve
from imgsec.domain.vulnerability import ScanSubject


@dataclass(frozen=True, slots=True)
class Defaults:
    """What foreign entries lack. reason, expires: for those that have none of their own.

    scope: None for a format that names its images. author: of a VEX document, who must have
    written it.
    """

    owner: str
    scope: ExemptionScope | None
    expires: date | None
    reason: str | None
    today: date
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """The entries that could be taken over, and why the others could not."""

    entries: tuple[Exemption, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written: the entries that hold for one image. author: who vouches for them."""

    entries: tuple[Exemption, ...]
    subject: ScanSubject
    now: datetime
    author: str

    def sayable(self, cannot_say: Callable[[Exemption], str | None]) -> Exported:
        """The entries that a format can say, and the sentences about the others."""
        widest = _widest(self.entries)
        told = [
            (entry, _unclear(entry) or cannot_say(entry) or _added_up(entry, widest[entry.issue]))
            for entry in self.entries
        ]
        return Exported(
            "",
            tuple(entry for entry, why in told if why is None),
            tuple(f"{entry.issue} for {entry.scope}: {why}" for entry, why in told if why),
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """A file's text, the entries that are in it, and why others are not."""

    text: str
    entries: tuple[Exemption, ...]
    skipped: tuple[str, ...]


def _unclear(entry: Exemption) -> str | None:
    if entry.type is IssueType.NOTICE and is_cve(entry.issue):
        return "it is for a notice that has the name of a CVE, and not for the CVE"
    return None


def _widest(entries: Iterable[Exemption]) -> dict[str, Exemption]:
    """Of each issue the entry that holds for the most packages."""
    found: dict[str, Exemption] = {}
    for entry in entries:
        other = found.setdefault(entry.issue, entry)
        if other.packages and (not entry.packages or len(entry.packages) > len(other.packages)):
            found[entry.issue] = entry
    return found


def _added_up(entry: Exemption, widest: Exemption) -> str | None:
    """Other tools judge each package by itself, so that entries would free what none covers."""
    if widest.packages and not set(entry.packages) <= set(widest.packages):
        return "there it would add up with another entry for the same issue"
    return None
